import json
from pathlib import Path

import pytest
import torch

from edge.experiments.least_recall import least_recall, recalls
from tests.edge.experiments.saying import student_that_says
from tests.edge.experiments.test_results import RESULTS


def test_the_recall_of_a_class_is_the_share_of_its_images_and_a_class_without_any_has_none() -> None:
    labels, predicted = torch.tensor([0, 0, 0, 0, 2, 2]), torch.tensor([0, 0, 0, 2, 2, 1])
    assert recalls(labels, predicted, classes=4) == [0.75, 0.5]


def test_a_student_that_knows_one_class_is_found_in_its_sweep(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (file,) = (path for path in RESULTS if path.stem == "digits-2000")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    made = [row for row in rows if row["response"] == "soft" and row["seed"] == 1]
    failed = next(row for row in rows if row["response"] == "top1") | {"status": "failed", "accuracy": None}
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*made, failed]))
    for row in made:
        student_that_says(tmp_path / f"digits/resnet8/{row['method']}-soft-2000-1/student.safetensors", 3)
    least_recall(tmp_path)
    told = capsys.readouterr().out.splitlines()[2:]
    assert told == ["| soft, 2,000 | lq | 1 | 0.00 | 1 |", "| soft, 2,000 | pool | 1 | 0.00 | 1 |"]
