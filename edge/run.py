"""One run, from the plan to the results: plan, step 1, the pool, step 2. Every part is found again after a stop."""

import itertools
from pathlib import Path
from typing import Any

from torch import nn

from edge import deprivatization, distillation
from edge.account import BOOKKEEPING, Account
from edge.asker import Asker
from edge.asking.link import Link
from edge.asking.oracle import Oracle
from edge.asking.same_teacher import check_same_teacher, latest_version
from edge.asking.teacher import Teacher
from edge.asking.wire_bytes import counted
from edge.balancing import EARLY_STAGE, early_config
from edge.config import OFFICIAL, Config
from edge.gan import Generator
from edge.images.local_images import LocalImages, check_same_images, local_images
from edge.learning import FEWEST_PAIRS, card_of, kept_student, step_2, what_was_learnt
from edge.methods import check_consent, method_of
from edge.official.deprivatization import deprivatize as deprivatize_officially
from edge.official.distillation import distill as distill_officially
from edge.planning.plan import UNMETERED, check_budget, make_plan
from edge.planning.prediction import Terms, first_prediction
from edge.run_folder import RunFolder
from edge.tensorboard import EventFiles
from edge.training import Watcher
from edge.transfer_set.journal import Journal, TransferSet
from edge.transfer_set.run_pairs import check_kind, note_kind
from edge.transfer_set.stored_pairs import Kind, paid_once
from shared import compute, whole_files
from shared.errors import BudgetTooSmall

LEARNT_FROM = f"{distillation.STAGE}.pairs"
"""Note of the number of pairs that the student began to learn from."""


def run(
    config: Config,
    teacher: Teacher,
    out: Path,
    data_root: Path | None = None,
    watcher: Watcher | None = None,
    link: Link | None = None,
    *,
    real_time: bool = False,
    timing: bool = False,
    send_private: bool = False,
) -> dict[str, Any]:
    """Distil `teacher` into a student in the folder `out`; returns what `results.json` holds.

    Nothing is written before it is sure that the run can be paid. A finished run is not touched. The `link` that the
    teacher is behind is written down with the results; it may be another one at every start.
    So is what was predicted at the first start; in `real_time` the link's seconds are waited for, and with `timing`
    some steps are timed, so that seconds are predicted too. Only with `send_private` are a folder's images sent, by
    the rivals that send them.

    Raises:
        MekdError: whatever was wrong; the same call goes on from there.
    """
    watcher = watcher or Watcher()
    folder = RunFolder(out)
    folder.check(config)
    if folder.finished():
        return folder.results()
    check_consent(config, granted=send_private)
    with counted() as first_contact:
        metadata, usage = teacher.metadata(), teacher.usage()
    check_budget(config, usage, folder.asked(), started=folder.config_file.exists())
    local = local_images(config, data_root, metadata, watcher)
    plan = make_plan(config, metadata, usage, local)
    kind = Kind(
        output=plan.output,
        image_shape=local.image_shape,
        classes=local.classes,
        dataset=local.name,
        shift=local.augmentation.shift,
        flip=local.augmentation.flip,
        teacher=metadata.name,
        version=latest_version(metadata),
    )
    check_kind(folder, kind)
    folder.claim(config)
    with Journal(folder.journal) as journal, EventFiles(folder.tensorboard) as event_files:
        check_same_teacher(metadata, journal)
        check_same_images(local, journal)
        note_kind(journal, kind)
        watcher = watcher.and_(event_files.watcher())
        watcher.on_key(usage, journal.queries())
        if usage is None:
            watcher.on_remark(UNMETERED.format(queries=config.budget))
        journal.add_traffic(BOOKKEEPING, first_contact)
        terms = Terms(teacher, metadata, usage, link, real_time)
        prediction = first_prediction(journal, config, plan, local, terms, timing=timing)
        oracle = Oracle(
            teacher,
            journal,
            plan.output,
            classes=local.classes,
            batch=plan.images_per_request,
            should_stop=watcher.should_stop,
            on_answer=watcher.on_answer,
        )
        account = Account(journal, teacher)
        with account.stage(deprivatization.STAGE):
            generator = _step_1(folder, local, oracle, config, watcher)
        with account.stage(distillation.STAGE):
            if config.method == OFFICIAL:
                assert generator is not None, "step 1 made it"
                student = _official_step_2(folder, kind, generator, oracle, config, watcher)
                pairs = paid_once(journal, kind).asked()
            else:
                made = _fill_pool(generator, local, oracle, plan.queries[distillation.STAGE], config, watcher)
                pairs = paid_once(journal, kind)
                if len(pairs) < FEWEST_PAIRS:
                    raise BudgetTooSmall(
                        f"The key's budget ended after {journal.queries()} of {config.budget} queries, too few to "
                        "learn from: somebody else spends it too. Have it raised; the same command goes on from "
                        "there."
                    )
                _begin_anew_where_more_is_known(folder, journal, len(pairs))
                to_learn = made or pairs.transfer_set()
                student = step_2(folder, kind, to_learn, generator, config, local.augmentation, local.images, watcher)
        results = {
            "link": link.model_dump() if link else None,
            "prediction": prediction,
            "stages": account.stages(plan),
            "server": account.server(),
            "bookkeeping": account.bookkeeping(),
        } | what_was_learnt(pairs, generator, student, config)
    folder.keep_results(results)
    return results


def _step_1(
    folder: RunFolder, local: LocalImages, oracle: Oracle, config: Config, watcher: Watcher
) -> Generator | None:
    if not config.has_step_1:
        return None
    state = folder.state[deprivatization.STAGE]
    if folder.generator.exists():
        whole_files.remove(state)  # a kill may have come between the two
        return folder.load_generator().to(compute.device())
    if config.method == OFFICIAL:
        place = oracle.place(deprivatization.STAGE)
        generator, curves = deprivatize_officially(
            local, oracle.ask, config, place=place, state=state, watcher=watcher
        )
    else:
        generator, curves = deprivatization.deprivatize(local, oracle.ask, config, state=state, watcher=watcher)
    folder.keep_curves(deprivatization.STAGE, curves)
    folder.keep_generator(generator, card_of(local.name, local.image_shape, local.classes, config))
    return generator


def _fill_pool(
    generator: Generator | None, local: LocalImages, oracle: Oracle, queries: int, config: Config, watcher: Watcher
) -> TransferSet | None:
    """Ask as the method asks; what the student is to learn from, where that is not the answers themselves."""
    method = method_of(config)
    stages = (EARLY_STAGE if number == 1 else f"{EARLY_STAGE} {number}" for number in itertools.count(1))

    def early(pairs: TransferSet) -> nn.Module:
        """Learns anew where a run was stopped before all was asked; the same answers give the same student."""
        return distillation.distill(
            pairs,
            None,
            early_config(config, method.early_share),
            classes=local.classes,
            augmentation=local.augmentation,
            stage=next(stages),
            watcher=watcher,
        )[0]

    if method.early_share and oracle.answered(distillation.STAGE) == queries:
        return None  # all that was chosen
    return method.fill_pool(Asker(local, generator, queries, config, oracle.ask, watcher, early))


def _begin_anew_where_more_is_known(folder: RunFolder, journal: Journal, pairs: int) -> None:
    """Forget a student that began with fewer pairs: a raised key has paid for more since."""
    if journal.notes().get(LEARNT_FROM) != pairs:
        whole_files.remove(folder.state[distillation.STAGE])
        journal.note(LEARNT_FROM, pairs)


def _official_step_2(
    folder: RunFolder, kind: Kind, generator: Generator, oracle: Oracle, config: Config, watcher: Watcher
) -> nn.Module:
    """The student that learns while it asks."""
    channels, place = kind.image_shape[0], oracle.place(distillation.STAGE)
    return kept_student(
        folder,
        kind,
        config,
        lambda state: distill_officially(
            generator, oracle.ask, config, channels=channels, place=place, state=state, watcher=watcher
        ),
    )
