"""What a sweep has to do: which cells ask, which ones learn from what another cell asked, and in which order.

Cells whose methods ask the same questions share one transfer set: that with the largest budget, and soft answers
where any of them wants those, asks; the others are replays of a prefix of it, or of its classes. In a grid that has
grown, what asks goes on from what a smaller budget has bought. Generators learn without a query, so runs with the
same step 1 share one.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from edge.config import MEKD, Config
from edge.images.local_images import LocalImages
from edge.methods import method_of
from edge.sweep.grid import Cell


@dataclass(frozen=True)
class Job:
    """What is to be done for one cell."""

    cell: Cell
    config: Config
    leader: Cell | None = None
    """The cell whose answers it learns from; None asks for itself."""
    generator: str | None = None
    """Name of the generator that it is given, if so."""
    known: Cell | None = None
    """A cell that was made before and has paid for the first of its questions, if so."""

    @property
    def queries_paid(self) -> int:
        """At most."""
        if self.leader is not None:
            return 0
        return self.config.budget - (self.known.budget if self.known else 0)


def plan_jobs(
    configs: Mapping[Cell, Config],
    local: Mapping[str, LocalImages],
    made: Collection[str] = (),
    asked: Collection[str] = (),
) -> list[Job]:
    """A job per cell, leaders before those that learn from their answers.

    What has `asked` already leads if it can. What is asking and cannot lead goes on asking, for itself: its folder
    is that of a run, and what it has paid for is no replay's. What was `made` but has no such folder, because it is a
    replay or only its row was kept, leads nobody.
    """
    asking = set(asked) - set(made)
    groups: dict[Any, list[Cell]] = defaultdict(list)
    for cell, config in configs.items():
        groups[_questions(cell, config, local[cell.dataset])].append(cell)
    leading, following = [], []
    for group in groups.values():
        payers = [cell for cell in group if cell.name in asked]
        for cell in sorted(group, key=lambda cell: _comes_first(cell, configs[cell], asked), reverse=True):
            serving = [payer for payer in payers if _serves(payer, cell, configs)]
            if serving and cell.name not in asking:
                following.append(Job(cell, configs[cell], serving[0]))
                continue
            begun = [payer for payer in payers if payer.name in made and _begins(payer, cell)]
            known = max(begun, key=lambda payer: payer.budget, default=None)
            leading.append(Job(cell, configs[cell], generator=_generator(cell, configs[cell]), known=known))
            if cell.name not in {*made, *asked}:
                payers.append(cell)
    return leading + following


def generators(jobs: Iterable[Job]) -> dict[str, Job]:
    """By name, the generators that jobs are given, each with one of these jobs."""
    return {job.generator: job for job in jobs if job.generator}


def _questions(cell: Cell, config: Config, local: LocalImages) -> Any:
    """Equal for cells that ask the same questions, up to the number of them."""
    method = method_of(config)
    rounds = method.rounds(config, config.budget, len(local.images), local.classes)
    if not method.replayed or len(rounds) > 1 or config.im_queries:
        return cell  # chosen by what was answered before, or by the budget
    if method.changes_images and config.budget > len(local.images):
        return cell  # copies may be equal, and a prefix of the distinct ones is not one of the questions
    changes = (config.shift, config.flip) if config.has_step_1 or method.changes_images else None
    tilt = config.distillation.tilt if method.changes_images else None
    return cell.dataset, cell.seed, method.questions, _step_1(config), changes, tilt


def _step_1(config: Config) -> str | None:
    return json.dumps(config.deprivatization.model_dump()) if config.has_step_1 else None


def _comes_first(cell: Cell, config: Config, asked: Collection[str]) -> tuple[bool, int, bool, bool]:
    return cell.response == "soft", cell.budget, _has_no_settings(config), cell.name in asked


def _serves(payer: Cell, cell: Cell, configs: Mapping[Cell, Config]) -> bool:
    """Whether a cell can learn from another one's answers: soft ones tell classes too, larger budgets smaller ones.

    What may be changed in training is known of a run without settings of its own.
    """
    theirs, ours = configs[payer], configs[cell]
    same_changes = _has_no_settings(theirs) or (theirs.shift, theirs.flip) == (ours.shift, ours.flip)
    tells_enough = payer.response in ("soft", cell.response) and payer.budget >= cell.budget
    return payer != cell and tells_enough and same_changes


def _has_no_settings(config: Config) -> bool:
    return config.shift is None and config.flip is None


def _begins(smaller: Cell, cell: Cell) -> bool:
    """Whether of two cells that ask the same questions one has bought what the other would buy first."""
    return smaller.response == cell.response and smaller.budget < cell.budget


def _generator(cell: Cell, config: Config) -> str | None:
    if config.method != MEKD or config.im_queries:
        return None
    made_by = json.dumps([_step_1(config), config.shift, config.flip])
    return f"{cell.dataset}/generators/{sha256(made_by.encode()).hexdigest()[:8]}-{cell.seed}"
