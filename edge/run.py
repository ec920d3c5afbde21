"""One run, from the plan to the results: plan, step 1, the pool, step 2. Every part is found again after a stop."""

import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from edge import deprivatization, distillation
from edge.answers import labels, target_latents, target_logits
from edge.client import TeacherClient
from edge.config import Config
from edge.gan import Generator
from edge.journal import Journal, TransferSet
from edge.oracle import Oracle
from edge.run_folder import RunFolder
from edge.training import Watcher
from shared import architectures, compute, datasets, metrics, pixels
from shared.datasets import Dataset
from shared.errors import BudgetTooSmall, InvalidConfig, OutputNotAllowed
from shared.protocol import IMAGES, LABEL, LOGITS, PROBABILITIES, ModelMetadata

STAGES = (deprivatization.STAGE, distillation.STAGE)
FEWEST_PAIRS = 2
"""One to learn from and one to select by."""


def run(
    config: Config, client: TeacherClient, out: Path, data_root: Path | None = None, watcher: Watcher | None = None
) -> dict[str, Any]:
    """Distil the teacher behind `client` into a student in the folder `out`; returns what `results.json` holds.

    Nothing is written before it is sure that the run can be paid. A finished run is not touched.

    Raises:
        MekdError: whatever was wrong; the same call goes on from there.
    """
    watcher = watcher or Watcher()
    folder = RunFolder(out)
    folder.check(config)
    if folder.finished():
        return folder.results()
    dataset = datasets.load(config.dataset, data_root)
    # An unknown name has to be told now, not when the student is built and everything is paid.
    architectures.build(config.student, channels=dataset.image_shape[0], classes=dataset.classes)
    output = choose_output(client.metadata(), config, dataset)
    check_budget(config, client, folder)
    folder.claim(config)
    with Journal(folder.journal) as journal:
        oracle = Oracle(
            client,
            journal,
            output,
            batch=config.request,
            should_stop=watcher.should_stop,
            on_answer=watcher.on_answer,
        )
        account = Account(journal, client)
        with account.stage(deprivatization.STAGE):
            generator = _step_1(folder, dataset, oracle, config, watcher)
        with account.stage(distillation.STAGE):
            distillation.fill_pool(generator, oracle.ask, config.budget - config.im_queries, config)
            if journal.queries() < FEWEST_PAIRS:
                raise BudgetTooSmall(
                    f"The key's budget ended after {journal.queries()} of {config.budget} queries, too few to learn "
                    "from: somebody else spends it too. Have it raised; the same command goes on from there."
                )
            pairs = journal.transfer_set()
            student = _step_2(folder, dataset, pairs, generator, config, watcher)
        results = {
            "config": config.model_dump(),
            "output": output,
            "stages": account.stages(config),
            "server": account.server(),
            "student": {"architecture": config.student, "parameters": architectures.parameter_count(student)},
            "generator": {"parameters": architectures.parameter_count(generator)},
            "pool": describe(pairs, generator, student, config),
            "software": {name: version(name) for name in ("mekd", "torch", "torchvision", "numpy")},
            "hardware": {
                "machine": platform.machine(),
                "threads": torch.get_num_threads(),
                "device": str(compute.device()),
            },
        }
    folder.keep_results(results)
    return results


def choose_output(metadata: ModelMetadata, config: Config, dataset: Dataset) -> str:
    """The output to ask for; checks on the way that the teacher fits the edge's images.

    Raises:
        InvalidConfig: the teacher takes other images or knows other classes.
        OutputNotAllowed: the key does not show what `config.response` needs.
    """
    taken = [tensor.shape[1:] for tensor in metadata.inputs if tensor.name == IMAGES]
    if taken != [list(dataset.image_shape)]:
        raise InvalidConfig(
            f"Images of '{dataset.name}' are {list(dataset.image_shape)}, the teacher '{metadata.name}' takes "
            f"{taken[0] if taken else 'no images'}. Choose the dataset that the teacher was made for."
        )
    outputs = {tensor.name: tensor.shape[-1] for tensor in metadata.outputs}
    wanted = (LABEL,) if config.response == "top1" else (LOGITS, PROBABILITIES)
    allowed = [name for name in wanted if name in outputs]
    if not allowed:
        raise OutputNotAllowed(
            f"--response {config.response} needs {' or '.join(wanted)}, but this key sees only "
            f"{', '.join(outputs) or 'nothing'}. Use --response top1, or ask the operator for another policy."
        )
    if allowed[0] != LABEL and outputs[allowed[0]] != dataset.classes:
        raise InvalidConfig(
            f"'{dataset.name}' has {dataset.classes} classes, the teacher '{metadata.name}' {outputs[allowed[0]]}."
        )
    return allowed[0]


def check_budget(config: Config, client: TeacherClient, folder: RunFolder) -> None:
    """Refuse a run that the key cannot pay; what was asked already, answered or not, is not needed again.

    Raises:
        BudgetTooSmall: says what is needed and what is left.
    """
    usage = client.usage()
    asked = 0
    if folder.journal.exists():
        with Journal(folder.journal) as journal:
            asked = journal.asked()
    needed = config.budget - asked
    if usage and needed > usage.remaining:
        way_out = f"Use --budget {usage.remaining} or less, or have"
        if folder.config_file.exists():  # another --budget would be another run's
            way_out = "The same command goes on once you have"
        raise BudgetTooSmall(
            f"The run needs {needed} queries, key '{usage.client}' has {usage.remaining} of {usage.budget} left. "
            f"{way_out} the key's budget raised."
        )


class Account:
    """What each stage took: queries and bytes by the edge's journal, queries by the server's meter, seconds."""

    def __init__(self, journal: Journal, client: TeacherClient) -> None:
        self._journal, self._client = journal, client

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Account a stage, over as many starts as it takes."""
        notes = self._journal.notes()
        self._journal.note(f"{name}.spent_before", notes.get(f"{name}.spent_before", self._spent()))
        started = time.monotonic()
        try:
            yield
        finally:
            seconds = notes.get(f"{name}.seconds", 0.0) + time.monotonic() - started
            self._journal.note(f"{name}.seconds", seconds)
        if f"{name}.spent_after" not in notes:
            self._journal.note(f"{name}.spent_after", self._spent())

    def stages(self, config: Config) -> dict[str, dict[str, Any]]:
        """By stage: planned and paid queries, the server's count, bytes, seconds."""
        notes = self._journal.notes()
        planned = dict(zip(STAGES, (config.im_queries, config.budget - config.im_queries), strict=True))
        stages = {}
        for name in STAGES:
            before, after = notes[f"{name}.spent_before"], notes[f"{name}.spent_after"]
            traffic = self._journal.traffic(name)
            stages[name] = {
                "queries_planned": planned[name],
                "queries": self._journal.queries(name),
                "queries_by_server": None if before is None else after - before,
                "bytes_up": traffic.up,
                "bytes_down": traffic.down,
                "seconds": round(notes[f"{name}.seconds"], 2),
            }
        return stages

    def server(self) -> dict[str, Any] | None:
        """The key's state on the server, None where there is no meter."""
        usage = self._client.usage()
        return usage.model_dump() if usage else None

    def _spent(self) -> int | None:
        usage = self._client.usage()
        return usage.spent if usage else None


def describe(pairs: TransferSet, generator: Generator, student: nn.Module, config: Config) -> dict[str, Any]:
    """What the pool looks like: answers by class, and whether the generator inverts the mapping.

    `inverse_fidelity` is the share of stored answers whose class the student finds again in G(T(x')/tau). The student
    stands in for the teacher, because asking the teacher would cost queries.
    """
    K = generator.project.in_features
    answers = torch.from_numpy(np.array(pairs.answers))
    label_N = labels(answers, pairs.output)
    z_NK = target_latents(target_logits(answers, pairs.output, K), pairs.output, config.distillation.temperature)
    inverted = pixels.from_array(deprivatization.generate(generator, z_NK))
    return {
        "pairs": len(pairs),
        "answers_by_class": torch.bincount(label_N, minlength=K).tolist(),
        "inverse_fidelity": metrics.accuracy(distillation.predict(student, inverted), label_N),
    }


def _step_1(folder: RunFolder, dataset: Dataset, oracle: Oracle, config: Config, watcher: Watcher) -> Generator:
    if folder.generator.exists():
        return folder.load_generator()
    state = folder.state[deprivatization.STAGE]
    generator, curves = deprivatization.deprivatize(dataset, oracle.ask, config, state=state, watcher=watcher)
    folder.keep_curves(deprivatization.STAGE, curves)
    folder.keep_generator(generator, _card(dataset, config))
    return generator


def _step_2(
    folder: RunFolder, dataset: Dataset, pairs: TransferSet, generator: Generator, config: Config, watcher: Watcher
) -> nn.Module:
    if folder.student.exists():
        return folder.load_student()[1]
    state = folder.state[distillation.STAGE]
    student, curves = distillation.distill(
        pairs, generator, config, shift=dataset.shift, state=state, watcher=watcher
    )
    folder.keep_curves(distillation.STAGE, curves)
    facts = {"held_out_agreement": max(value for _, value in curves["held-out agreement"])}
    folder.keep_student(student, config.student, _card(dataset, config) | {"facts": facts})
    return student


def _card(dataset: Dataset, config: Config) -> dict[str, Any]:
    return {
        "dataset": dataset.name,
        "image_shape": dataset.image_shape,
        "classes": dataset.classes,
        "seed": config.seed,
    }
