import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from edge.images.local_images import LocalImages
from edge.official.deprivatization import OfficialEmulation, asked_at, deprivatize, shown_at
from edge.training import Watcher
from edge.transfer_set.journal import TransferSet
from shared.augmentation import Augmentation
from shared.errors import BudgetTooSmall, Stopped
from shared.protocol import LABEL, LOGITS, PROBABILITIES
from tests.edge.official.asking import STEP_1, KeyedTeacher, an_oracle, official_config
from tests.edge.small import Projection, digits


def equal(one: nn.Module, other: nn.Module) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("output", [LOGITS, PROBABILITIES, LABEL])
def test_every_step_asks_about_its_batch_until_the_queries_are_spent(output: str) -> None:
    teacher = Projection(output)
    config = official_config(response="top1" if output == LABEL else "soft")
    emulation = OfficialEmulation(digits(), teacher, config)
    asked_by_step, losses = [], []
    for step in range(config.deprivatization.steps):
        before, mean = len(teacher.questions), emulation.index.mean
        losses.append(emulation.step(step)["L_IM"])
        asked_by_step.append([len(images) for _, images in teacher.questions[before:]])
        if not asked_by_step[-1]:
            assert emulation.index.mean == mean
    assert asked_by_step == [[size] for size in STEP_1] + [[]] * 3 and sum(STEP_1) == config.im_queries == 18
    assert {stage for stage, _ in teacher.questions} == {"deprivatization"}
    assert emulation.index.mean == teacher.logits(teacher.questions[-1][1]).argmax(1).mean()
    assert all(loss > 0 for loss in losses)
    private = {image.tobytes() for image in digits().images}
    assert not any(image.tobytes() in private for _, images in teacher.questions for image in images)


def test_only_the_mean_index_of_a_batch_matters() -> None:
    class Shuffled(Projection):
        def pairs(self, images: NDArray[np.uint8]) -> TransferSet:
            pairs = super().pairs(images)
            return dataclasses.replace(pairs, answers=pairs.answers[::-1])

    class Next(Projection):
        def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
            return np.roll(super().logits(images), 1, axis=1)

    generators = []
    for teacher in (Projection(), Shuffled(), Next()):
        emulation = OfficialEmulation(digits(), teacher, official_config())
        emulation.step(0)
        generators.append(emulation.generator)
    assert equal(generators[0], generators[1]) and not equal(generators[0], generators[2])


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 9, 14)])
def test_images_of_other_sizes_and_channels_are_learnt_too(shape: tuple[int, int, int]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (10, *shape), np.uint8)
    answers = np.zeros((8, 4), np.float32)
    emulation = OfficialEmulation(
        LocalImages("folder", 4, Augmentation(0), images),
        lambda stage, asked: TransferSet(asked, answers, LOGITS),
        official_config(),
    )
    for step in range(2):
        assert np.isfinite(list(emulation.step(step).values())).all()


@pytest.mark.parametrize("count", [20, 3])  # a batch is of 8
def test_every_pass_shows_all_images_once(count: int) -> None:
    shown = torch.cat([shown_at(step, count, 8, seed=0) for step in range(9)]).tolist()
    passes = [shown[start : start + count] for start in range(0, 72 - count, count)]
    assert all(sorted(places) == list(range(count)) for places in passes) and len(set(map(tuple, passes))) > 1
    assert torch.equal(shown_at(4, count, 8, seed=0), torch.tensor(shown[32:40]))


def test_a_term_without_weight_or_share_asks_nothing() -> None:
    for changes in ({"im_weight": 0.0}, {"im_share": 0.0}):
        config = official_config(deprivatization=changes)
        assert [asked_at(step, config) for step in range(6)] == [0] * 6
        assert OfficialEmulation(digits(), Projection(), config).step(0)["L_IM"] == 0


def test_a_share_beyond_all_steps_asks_one_batch_at_each() -> None:
    config = official_config(deprivatization={"steps": 3, "im_share": 0.9})
    assert [asked_at(step, config) for step in range(3)] == [8, 8, 8] and config.im_queries == 24


def test_the_same_seed_gives_the_same_generator_frozen_and_another_seed_another(tmp_path: Path) -> None:
    generators = []
    for place, seed in enumerate((5, 5, 6)):
        with an_oracle(KeyedTeacher(), tmp_path / str(place)) as oracle:
            config = official_config(seed=seed)
            generator, curves = deprivatize(digits(), oracle.ask, config, place=oracle.place("deprivatization"))
        assert not generator.training and not any(p.requires_grad for p in generator.parameters())
        assert curves.keys() == {"L_D", "L_G", "L_IM"} and {len(curve) for curve in curves.values()} == {6}
        generators.append(generator)
    assert equal(generators[0], generators[1]) and not equal(generators[0], generators[2])


@pytest.mark.parametrize(("steps", "batch"), [(0, 250), (2, 3), (5, 250)])
def test_a_stopped_training_goes_on_with_the_next_request_and_ends_as_the_undisturbed_one(
    tmp_path: Path, steps: int, batch: int
) -> None:
    with an_oracle(KeyedTeacher(), tmp_path / "whole") as oracle:
        whole = deprivatize(digits(), oracle.ask, official_config(), place=oracle.place("deprivatization"))
    teacher, seen = KeyedTeacher(), list[int]()
    stop = Watcher(should_stop=lambda: len(seen) >= steps, on_step=lambda stage, done, *_: seen.append(done))
    for watcher in (stop, Watcher()):
        with an_oracle(teacher, tmp_path / "stopped", batch) as oracle:
            try:
                resumed = deprivatize(
                    digits(),
                    oracle.ask,
                    official_config(),
                    place=oracle.place("deprivatization"),
                    state=tmp_path / "state",
                    watcher=watcher,
                )
            except Stopped:
                assert watcher is stop
    assert equal(resumed[0], whole[0]) and resumed[1] == whole[1]
    assert teacher.asked == 18 and len(set(teacher.keys)) == len(teacher.keys)


def test_a_budget_that_is_gone_is_said() -> None:
    def poor(stage: str, images: NDArray[np.uint8]) -> TransferSet:
        return Projection().pairs(images[:5])

    with pytest.raises(BudgetTooSmall, match=r"ended in deprivatization, with 5 of the 8 answers.*the same command"):
        OfficialEmulation(digits(), poor, official_config()).step(0)


def test_the_generator_is_asked_about_as_it_trains() -> None:
    """Its batch norms see the batch that is asked about, and nothing else is passed through it for the question."""
    teacher = Projection()
    emulation = OfficialEmulation(digits(), teacher, official_config())
    emulation.step(0)
    assert emulation.generator.blocks[0].num_batches_tracked == 2  # one batch for each network's update
    assert emulation.generator.training and teacher.questions[0][1].shape == (8, 1, 8, 8)
