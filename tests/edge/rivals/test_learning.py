"""Every method learns digits from a teacher that reads them; methods with the same questions share the answers."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from edge.asking.teacher import Reply
from edge.distillation import predict
from edge.methods import METHODS
from edge.presets import PRESETS, RIVALS
from edge.replay import changed, open_source, replay
from edge.run import run
from edge.run_folder import RunFolder
from edge.sends import Sends
from shared import metrics
from shared.errors import InvalidConfig
from shared.protocol import IMAGES, LABEL, LOGITS, ModelMetadata, TensorMetadata
from tests.edge.small import K, small_config, whole_digits
from tests.edge.transfer_set.storing import FreeTeacher, finished_run

FAST = {
    "budget": 400,
    "distillation": {"steps": 120, "batch": 32, "evaluate_every": 24},
    "deprivatization": {"steps": 150, "batch": 64, "width": 16},
}


@cache
def classifier() -> LogisticRegression:
    """Right about 95 of 100 digits."""
    cloud = whole_digits().cloud
    return LogisticRegression(max_iter=1000).fit(cloud.images.reshape(-1, 64) / 255, cloud.labels)


class Reader:
    """A teacher that reads digits."""

    def metadata(self) -> ModelMetadata:
        return ModelMetadata(
            name="reader",
            inputs=[TensorMetadata(name=IMAGES, datatype="UINT8", shape=[-1, 1, 8, 8])],
            outputs=[TensorMetadata(name=name, datatype="FP32", shape=[-1, K]) for name in (LOGITS, LABEL)],
        )

    def usage(self) -> None:
        return None

    def ask(self, images: NDArray[np.uint8], output: str, key: str) -> Reply:
        logits = np.asarray(classifier().decision_function(images.reshape(-1, 64) / 255), np.float32)
        return Reply(logits.argmax(1) if output == LABEL else logits, 0, 0, replayed=False)


def accuracy(folder: Path) -> float:
    test = whole_digits().test
    return metrics.accuracy(predict(RunFolder(folder).load_student()[1], test.images), torch.from_numpy(test.labels))


SLOW = {
    "budget": 2000,
    "distillation": {"steps": 240, "batch": 32, "evaluate_every": 48},
    "deprivatization": {"steps": 150, "batch": 64, "width": 16},
}
"""For what learns little from few: of three seeds, each is above 0.3 then."""


@pytest.mark.parametrize("name", RIVALS)
def test_every_rival_learns_far_more_than_chance(name: str, tmp_path: Path) -> None:
    """Chance is 0.1, and 3 standard deviations of 400 test images are 0.045."""
    schedule = SLOW if name == "dafl-proxy" else FAST
    run(PRESETS[name](small_config(**schedule, response=METHODS[name].responses[0])), Reader(), tmp_path / "run")
    blind = METHODS[name].sends in (Sends.NOISE, Sends.SYNTHETIC)  # without a look at any real image
    assert accuracy(tmp_path / "run") > (0.2 if blind else 0.6)


@pytest.fixture(scope="module")
def paid_by_kd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nobody writes into it."""
    folder = tmp_path_factory.mktemp("runs") / "kd"
    run(PRESETS["kd"](small_config(budget=60)), FreeTeacher(), folder)
    return folder


@pytest.mark.parametrize("name", ["ml", "al", "dkd", "kn"])
def test_answers_that_kd_paid_for_serve_the_methods_with_the_same_questions(
    name: str, paid_by_kd: Path, tmp_path: Path
) -> None:
    run(PRESETS[name](small_config(budget=40)), FreeTeacher(), tmp_path / "asked")
    source, config = changed(open_source(paid_by_kd), None, {"method": name, "budget": 40})
    replay(source, config, tmp_path / "replayed")
    asked, replayed = (RunFolder(tmp_path / folder).student.read_bytes() for folder in ("asked", "replayed"))
    assert asked == replayed != RunFolder(paid_by_kd).student.read_bytes()


def test_answers_to_other_questions_are_refused(paid_by_kd: Path, tmp_path: Path) -> None:
    source = open_source(finished_run(tmp_path / "run").path)
    with pytest.raises(InvalidConfig, match=r"'kd' does not ask what .*run asked, by method 'mekd'"):
        changed(source, None, {"method": "kd", "distillation": {"image_weight": 0.0}})
    with pytest.raises(InvalidConfig, match="'dkd' cannot learn from --response top1"):
        changed(open_source(paid_by_kd), None, {"method": "dkd", "response": "top1"})


def test_walks_cannot_be_replayed(tmp_path: Path) -> None:
    run(PRESETS["db3kd"](small_config(budget=150, response="top1")), FreeTeacher(LABEL), tmp_path / "run")
    source, config = changed(open_source(tmp_path / "run"), None, {"seed": 1})
    with pytest.raises(InvalidConfig, match="makes use of the answers while it asks"):
        replay(source, config, tmp_path / "replayed")
