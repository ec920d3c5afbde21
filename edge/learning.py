"""The two steps within a run's folder, whatever the method, and what the results tell of them."""

import platform
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edge import distillation
from edge.config import Config
from edge.gan import Generator
from edge.methods import method_of
from edge.pool import describe
from edge.run_folder import RunFolder
from edge.training import Curves, Watcher
from edge.transfer_set.journal import Images, TransferSet
from edge.transfer_set.stored_pairs import IMPORTED, Kind, StoredPairs
from shared import architectures, compute, whole_files
from shared.augmentation import Augmentation

FEWEST_PAIRS = 2
"""One to learn from and one to select by."""


def step_2(
    folder: RunFolder,
    kind: Kind,
    pairs: TransferSet,
    generator: Generator | None,
    config: Config,
    augmentation: Augmentation,
    private: Images | None,
    watcher: Watcher,
) -> nn.Module:
    """The student that learns from `pairs`; see `kept_student` and `edge.distillation.distill`."""
    return kept_student(
        folder,
        kind,
        config,
        lambda state: distillation.distill(
            pairs,
            generator,
            config,
            classes=kind.classes,
            augmentation=augmentation,
            private=private,
            make_term=method_of(config).answer_term,
            state=state,
            watcher=watcher,
        ),
    )


def kept_student(
    folder: RunFolder, kind: Kind, config: Config, learn: Callable[[Path], tuple[nn.Module, Curves]]
) -> nn.Module:
    """The student that `learn` makes, with its curves kept in the folder; found there where it has learnt.

    Args:
        folder: the run's.
        kind: what the answers are to.
        config: the run's.
        learn: takes the file that keeps the training between two starts.
    """
    state = folder.state[distillation.STAGE]
    if folder.student.exists():
        whole_files.remove(state)  # a kill may have come between the two
        return folder.load_student()[1]
    student, curves = learn(state)
    folder.keep_curves(distillation.STAGE, curves)
    agreement = distillation.kept_agreement(curves, config.distillation.steps)
    facts = {} if agreement is None else {"held_out_agreement": agreement}
    card = card_of(kind.dataset, kind.image_shape, kind.classes, config)
    folder.keep_student(student, config.student, card | {"facts": facts})
    return student


def what_was_learnt(
    pairs: StoredPairs, generator: Generator | None, student: nn.Module, config: Config
) -> dict[str, Any]:
    """The part of the results that tells the student, what it learnt from, and what it was made with."""
    return {
        "config": config.model_dump(),
        "sends": method_of(config).sends,
        "output": pairs.kind.output,
        "imported": pairs.queries().get(IMPORTED, 0),
        "student": {"architecture": config.student, "parameters": architectures.parameter_count(student)},
        "generator": {"parameters": architectures.parameter_count(generator)} if generator else None,
        "pool": describe(pairs.transfer_set(), generator, student, config, pairs.kind.classes),
    } | surroundings()


def surroundings(packages: Sequence[str] = ("mekd", "torch", "torchvision", "numpy")) -> dict[str, Any]:
    """Software and hardware that a result was made with; of a package that is not installed the version is None."""
    return {
        "software": {name: _version(name) for name in packages},
        "hardware": {
            "machine": platform.machine(),
            "threads": torch.get_num_threads(),
            "device": str(compute.device()),
        },
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:  # as ours, where a checkout is run as it lies there
        return None


def card_of(dataset: str, image_shape: tuple[int, int, int], classes: int, config: Config) -> dict[str, Any]:
    """What a model's card says beside its role, architecture and facts."""
    return {"dataset": dataset, "image_shape": image_shape, "classes": classes, "seed": config.seed}
