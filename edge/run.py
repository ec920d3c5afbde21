"""One run, from the plan to the results: plan, step 1, the pool, step 2. Every part is found again after a stop."""

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edge import deprivatization, distillation
from edge.account import BOOKKEEPING, Account
from edge.config import Config
from edge.gan import Generator
from edge.journal import Journal, TransferSet
from edge.link import Link
from edge.local_images import LocalImages, local_images
from edge.oracle import Oracle
from edge.plan import check_budget, make_plan
from edge.pool import describe
from edge.run_folder import RunFolder
from edge.teacher import Teacher
from edge.tensorboard import EventFiles
from edge.training import Watcher
from edge.wire_bytes import counted
from shared import architectures, compute
from shared.errors import BudgetTooSmall

FEWEST_PAIRS = 2
"""One to learn from and one to select by."""


def run(
    config: Config,
    teacher: Teacher,
    out: Path,
    data_root: Path | None = None,
    watcher: Watcher | None = None,
    link: Link | None = None,
) -> dict[str, Any]:
    """Distil `teacher` into a student in the folder `out`; returns what `results.json` holds.

    Nothing is written before it is sure that the run can be paid. A finished run is not touched. The `link` that the
    teacher is behind is written down with the results; it may be another one at every start.

    Raises:
        MekdError: whatever was wrong; the same call goes on from there.
    """
    watcher = watcher or Watcher()
    folder = RunFolder(out)
    folder.check(config)
    if folder.finished():
        return folder.results()
    local = local_images(config.dataset, data_root)
    # An unknown name has to be told now, not when the student is built and everything is paid.
    architectures.build(config.student, channels=local.image_shape[0], classes=local.classes)
    with counted() as first_contact:
        metadata, usage = teacher.metadata(), teacher.usage()
    plan = make_plan(config, metadata, usage, local)
    check_budget(config, usage, folder.asked(), started=folder.config_file.exists())
    folder.claim(config)
    with Journal(folder.journal) as journal, EventFiles(folder.tensorboard) as event_files:
        watcher = watcher.and_(event_files.watcher())
        watcher.on_key(usage, journal.queries())
        journal.add_traffic(BOOKKEEPING, first_contact)
        oracle = Oracle(
            teacher,
            journal,
            plan.output,
            batch=plan.images_per_request,
            should_stop=watcher.should_stop,
            on_answer=watcher.on_answer,
        )
        account = Account(journal, teacher)
        with account.stage(deprivatization.STAGE):
            generator = _step_1(folder, local, oracle, config, watcher)
        with account.stage(distillation.STAGE):
            distillation.fill_pool(generator, oracle.ask, plan.queries[distillation.STAGE], config)
            if journal.queries() < FEWEST_PAIRS:
                raise BudgetTooSmall(
                    f"The key's budget ended after {journal.queries()} of {config.budget} queries, too few to learn "
                    "from: somebody else spends it too. Have it raised; the same command goes on from there."
                )
            pairs = journal.transfer_set()
            student = _step_2(folder, local, pairs, generator, config, watcher)
        results = {
            "config": config.model_dump(),
            "output": plan.output,
            "link": link.model_dump() if link else None,
            "stages": account.stages(plan),
            "server": account.server(),
            "bookkeeping": account.bookkeeping(),
            "student": {"architecture": config.student, "parameters": architectures.parameter_count(student)},
            "generator": {"parameters": architectures.parameter_count(generator)},
            "pool": describe(pairs, generator, student, config),
        } | surroundings()
    folder.keep_results(results)
    return results


def surroundings() -> dict[str, Any]:
    """Software and hardware that a result was made with."""
    return {
        "software": {name: version(name) for name in ("mekd", "torch", "torchvision", "numpy")},
        "hardware": {
            "machine": platform.machine(),
            "threads": torch.get_num_threads(),
            "device": str(compute.device()),
        },
    }


def _step_1(folder: RunFolder, local: LocalImages, oracle: Oracle, config: Config, watcher: Watcher) -> Generator:
    if folder.generator.exists():
        return folder.load_generator()
    state = folder.state[deprivatization.STAGE]
    generator, curves = deprivatization.deprivatize(local, oracle.ask, config, state=state, watcher=watcher)
    folder.keep_curves(deprivatization.STAGE, curves)
    folder.keep_generator(generator, _card(local, config))
    return generator


def _step_2(
    folder: RunFolder, local: LocalImages, pairs: TransferSet, generator: Generator, config: Config, watcher: Watcher
) -> nn.Module:
    if folder.student.exists():
        return folder.load_student()[1]
    state = folder.state[distillation.STAGE]
    student, curves = distillation.distill(pairs, generator, config, shift=local.shift, state=state, watcher=watcher)
    folder.keep_curves(distillation.STAGE, curves)
    facts = {"held_out_agreement": max(value for _, value in curves["held-out agreement"])}
    folder.keep_student(student, config.student, _card(local, config) | {"facts": facts})
    return student


def _card(local: LocalImages, config: Config) -> dict[str, Any]:
    return {
        "dataset": local.name,
        "image_shape": local.image_shape,
        "classes": local.classes,
        "seed": config.seed,
    }
