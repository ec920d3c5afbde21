"""KD sends the private images, and says so by its numbers."""

from pathlib import Path

import numpy as np
import pytest

from edge.presets import PRESETS
from edge.replay import changed, open_source, replay
from edge.run import run
from edge.run_folder import RunFolder
from edge.transfer_set.journal import Journal, digests
from shared.errors import InvalidConfig
from tests.edge.small import digits, small_config
from tests.edge.transfer_set.storing import FreeTeacher


def test_every_question_is_a_private_image_and_none_is_asked_twice(tmp_path: Path) -> None:
    teacher = FreeTeacher()
    results = run(PRESETS["kd"](small_config(budget=60)), teacher, tmp_path / "run")
    with Journal(RunFolder(tmp_path / "run").journal) as journal:
        asked = journal.transfer_set().images
    assert teacher.asked == 60 == len(set(digests(asked)))
    assert set(digests(asked)) < set(digests(digits().images))
    assert not np.array_equal(asked, digits().images[:60])  # drawn from all of them
    assert [stage["queries"] for stage in results["stages"].values()] == [0, 60]
    assert results["generator"] is None and "inverse_fidelity" not in results["pool"]


def test_a_smaller_budget_buys_a_part_of_the_same_images(tmp_path: Path) -> None:
    run(PRESETS["kd"](small_config(budget=60)), FreeTeacher(), tmp_path / "run")
    run(PRESETS["kd"](small_config(budget=30)), FreeTeacher(), tmp_path / "less")
    source, config = changed(open_source(tmp_path / "run"), None, {"budget": 30})
    replay(source, config, tmp_path / "replay")
    one, other = (RunFolder(tmp_path / name).student.read_bytes() for name in ("less", "replay"))
    assert one == other


def test_more_queries_than_images_are_refused_before_anything_is_paid(tmp_path: Path) -> None:
    teacher = FreeTeacher()
    with pytest.raises(InvalidConfig, match=r"500 .*, and 501 are planned\. Use --budget 500 or less"):
        run(PRESETS["kd"](small_config(budget=501)), teacher, tmp_path / "run")
    assert teacher.asked == 0 and not (tmp_path / "run").exists()


def test_it_has_no_generator_for_an_image_term() -> None:
    with pytest.raises(InvalidConfig, match="image_weight to 0"):
        small_config(method="kd", distillation={"image_weight": 1.0})
