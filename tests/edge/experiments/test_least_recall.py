import json
from pathlib import Path

import pytest

from edge.experiments.least_recall import least_recall
from tests.edge.experiments.test_results import RESULTS

ALL_KNOWN = [[4, 0, 0], [1, 3, 0], [0, 0, 5]]
ONE_MISSED = [[4, 0, 0], [0, 4, 0], [2, 3, 0]]
WITHOUT_IMAGES_OF_ONE = [[4, 0, 0], [0, 0, 0], [0, 1, 9]]


def test_the_least_known_class_of_every_method_is_told_with_the_seed_that_missed_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (file,) = (path for path in RESULTS if path.stem == "digits-2000")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    soft = {(row["method"], row["seed"]): row for row in rows if row["response"] == "soft"}
    confusions = {
        ("lq", 0): ALL_KNOWN,
        ("lq", 1): ONE_MISSED,
        ("pool", 0): ALL_KNOWN,
        ("pool", 1): WITHOUT_IMAGES_OF_ONE,
    }
    failed = soft["pool", 2] | {"status": "failed", "accuracy": None}
    made = [soft[cell] for cell in confusions]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*made, failed]))
    for (method, seed), confusion in confusions.items():
        folder = tmp_path / f"digits/resnet8/{method}-soft-2000-{seed}"
        folder.mkdir(parents=True)
        (folder / "results.json").write_text(json.dumps({"evaluation": {"confusion": confusion}}))
    least_recall(tmp_path)
    assert capsys.readouterr().out.splitlines()[2:] == [
        "| soft, 2,000 | lq | 2 | 0.00 | 1 |",
        "| soft, 2,000 | pool | 2 | 75.00 | 0 |",
    ]
