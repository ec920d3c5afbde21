import json
from pathlib import Path

import pytest

from edge.experiments.on_cloud_images import on_cloud_images
from edge.experiments.paired import table
from edge.leaderboard.rows import read_rows
from tests.edge.experiments.saying import student_that_says
from tests.edge.experiments.test_results import RESULTS
from tests.edge.small import whole_digits


def test_students_are_judged_by_the_cloud_s_images_and_nothing_of_the_test_images_is_left(tmp_path: Path) -> None:
    (file,) = (path for path in RESULTS if path.stem == "digits-2000")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    chosen = [row for row in rows if row["response"] == "soft" and row["seed"] < 2]
    failed = next(row for row in rows if row["response"] == "top1") | {"status": "failed", "accuracy": None}
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*chosen, failed]))
    for row in chosen:
        folder = tmp_path / f"digits/resnet8/{row['method']}-soft-2000-{row['seed']}"
        student_that_says(folder / "student.safetensors", row["seed"])
    on_cloud_images(tmp_path, tmp_path / "cloud.jsonl")
    labels = whole_digits().cloud.labels
    judged = read_rows([tmp_path / "cloud.jsonl"])
    assert len(judged) == len(chosen) == 4 and "pool" in " ".join(table(judged, "pool"))
    for row in judged:
        assert row.accuracy == pytest.approx((labels == row.seed).mean()) and row.test_images == len(labels)
        assert (row.teacher_accuracy, row.fidelity, row.kl_nats, row.calibration_error) == (None,) * 4
