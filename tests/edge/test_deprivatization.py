import copy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsClassifier

from edge.deprivatization import STAGE, Emulation, confidence_rounds, deprivatize, generate
from edge.gan import Generator
from edge.training import Curves, Watcher
from edge.transfer_set.journal import TransferSet
from shared.errors import Stopped
from shared.protocol import LOGITS, PROBABILITIES
from shared.seeding import rng
from tests.edge.small import K, Projection, digits, small_config, whole_digits


class Remembering(Projection):
    """What an oracle is after a restart: the first questions are answered from what was stored, whatever they are."""

    def __init__(self, before: Projection) -> None:
        super().__init__()
        self.stored = list(before.questions)

    def __call__(self, stage: str, images: NDArray[np.uint8]) -> TransferSet:
        if not self.stored:
            return super().__call__(stage, images)
        stored_stage, stored_images = self.stored.pop(0)
        assert stored_stage == stage and len(stored_images) == len(images)
        return self.pairs(stored_images)


def weights(generator: Generator) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in generator.state_dict().items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def asked(teacher: Projection) -> NDArray[np.uint8]:
    return np.concatenate([np.empty((0, 1, 8, 8), np.uint8), *(images for _, images in teacher.questions)])


@pytest.mark.parametrize("output", [LOGITS, PROBABILITIES])
def test_soft_answers_are_asked_for_as_planned_and_only_about_generated_images(output: str) -> None:
    teacher, config = Projection(output), small_config(deprivatization={"im_rounds": 4})
    deprivatize(digits(), teacher, config)
    assert config.im_queries == 30
    assert [(stage, len(images)) for stage, images in teacher.questions] == [
        (STAGE, 8),
        (STAGE, 8),
        (STAGE, 7),
        (STAGE, 7),
    ]
    images, private = asked(teacher), {image.tobytes() for image in digits().images}
    assert images.dtype == np.uint8 and images.shape[1:] == digits().image_shape
    assert len({image.tobytes() for image in images}) == 30
    assert not any(image.tobytes() in private for image in images)


@pytest.mark.parametrize("changes", [{"response": "top1"}, {"deprivatization": {"im_weight": 0.0}}])
def test_top_1_answers_and_a_switched_off_term_ask_nothing(changes: dict[str, Any]) -> None:
    teacher = Projection()
    _, curves = deprivatize(digits(), teacher, small_config(**changes))
    assert teacher.questions == [] and len(curves["L_G"]) == 12


def test_the_same_seed_gives_the_same_generator_and_another_seed_another() -> None:
    one, other, reseeded = (
        deprivatize(digits(), Projection(), small_config(seed=seed))[0].state_dict() for seed in (5, 5, 6)
    )
    assert equal(one, other) and not equal(one, reseeded)


def test_confidences_teach_the_generator() -> None:
    class Unsure(Projection):
        def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
            return np.asarray(super().logits(images) / 1000, np.float32)

    sure, unsure = (deprivatize(digits(), teacher, small_config()) for teacher in (Projection(), Unsure()))
    assert not equal(sure[0].state_dict(), unsure[0].state_dict())
    first_round = small_config().deprivatization.steps // 2
    weighed = [(step, a == b) for (step, a), (_, b) in zip(sure[1]["L_IM"], unsure[1]["L_IM"], strict=True)]
    assert all(same == (step <= first_round) for step, same in weighed)


def test_the_information_maximisation_loss_is_the_generators_own_until_confidences_are_known() -> None:
    _, curves = deprivatize(digits(), Projection(), small_config())
    same = [a == b for (_, a), (_, b) in zip(curves["L_G"], curves["L_IM"], strict=True)]
    assert same[:6] == [True] * 6 and not any(same[6:])


@cache
def undisturbed() -> tuple[Generator, Curves, Projection]:
    """Generator, curves and who was asked; nobody changes them."""
    teacher = Projection()
    return *deprivatize(digits(), teacher, small_config()), teacher


@pytest.mark.parametrize("steps", [0, 3, 6, 7, 11])
def test_a_stopped_run_ends_as_the_undisturbed_one_and_asks_the_same(tmp_path: Path, steps: int) -> None:
    generator, curves, whole = undisturbed()
    seen: list[int] = []
    watcher = Watcher(
        should_stop=lambda: len(seen) >= steps, on_step=lambda stage, done, total, values: seen.append(done)
    )
    first = Projection()
    with pytest.raises(Stopped):
        deprivatize(digits(), first, small_config(), state=tmp_path / "state", watcher=watcher)
    second = Remembering(first)
    resumed, resumed_curves = deprivatize(digits(), second, small_config(), state=tmp_path / "state")
    assert equal(resumed.state_dict(), generator.state_dict()) and resumed_curves == curves
    assert (np.concatenate([asked(first), asked(second)]) == asked(whole)).all()


def test_every_latent_is_kept_with_the_confidence_of_the_image_that_was_made_of_it() -> None:
    teacher = Projection()
    emulation = Emulation(digits(), teacher, small_config(deprivatization={"steps": 1, "im_rounds": 1}))
    asking = copy.deepcopy(emulation.average.model)
    emulation.step(0)
    made = generate(asking, emulation.confident_MK)
    assert len(made) == 30 and (made == asked(teacher)).all()
    sure_M = torch.from_numpy(teacher.logits(made)).softmax(1).amax(1)
    torch.testing.assert_close(emulation.confidence_M, sure_M)
    assert sure_M.min() < 0.9


def test_a_generator_comes_back_averaged_frozen_and_in_evaluation_mode() -> None:
    generator, _ = deprivatize(digits(), Projection(), small_config(deprivatization={"average": 0.0}))
    assert not generator.training and not any(p.requires_grad for p in generator.parameters())
    slow, _ = deprivatize(digits(), Projection(), small_config(deprivatization={"average": 0.999}))
    assert not equal(weights(generator), weights(slow))


def test_generated_images_are_bytes_and_depend_on_the_latent_alone() -> None:
    generator = Generator(K, (1, 8, 8), width=8).eval()
    z_NK = torch.randn(40, K, generator=rng(0))
    images = generate(generator, z_NK)
    assert images.dtype == np.uint8 and images.shape == (40, 1, 8, 8)
    apart = np.abs(generate(generator, z_NK[:3]).astype(int) - images[:3])
    assert apart.max() <= 1  # another batch size may take another kernel, which rounds differently


@pytest.mark.parametrize(
    ("steps", "rounds", "queries", "expected"),
    [
        (100, 2, 10, [(50, 5), (75, 5)]),
        (100, 3, 10, [(50, 4), (66, 3), (83, 3)]),
        (1, 1, 5, [(0, 5)]),
        (9, 5, 2, [(4, 1), (6, 1)]),
        (100, 2, 0, []),
    ],
)
def test_rounds_are_spread_over_the_second_half_and_ask_everything(
    steps: int, rounds: int, queries: int, expected: list[tuple[int, int]]
) -> None:
    section = small_config(deprivatization={"steps": steps, "im_rounds": rounds}).deprivatization
    assert confidence_rounds(section, queries) == expected


@pytest.fixture(scope="module")
def judge() -> KNeighborsClassifier:
    """Names a digit; learnt from the cloud's images, which the edge never sees."""
    cloud, test = whole_digits().cloud, whole_digits().test
    neighbours = KNeighborsClassifier(3).fit(cloud.images.reshape(-1, 64), cloud.labels)
    assert neighbours.score(test.images.reshape(-1, 64), test.labels) > 0.95
    return neighbours


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_generator_makes_every_class(judge: KNeighborsClassifier, seed: int) -> None:
    changes = {"steps": 250, "batch": 32, "width": 24, "im_weight": 0.0}
    generator, _ = deprivatize(digits(), Projection(), small_config(seed=seed, deprivatization=changes))
    images = generate(generator, torch.randn(1000, K, generator=rng(0, "judged")))
    by_class = np.bincount(judge.predict(images.reshape(-1, 64)), minlength=K)
    assert by_class.min() >= 10, by_class
