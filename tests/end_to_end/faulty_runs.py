"""A tiny run, or an evaluation, of which one stage meets a fault; and what server and edge wrote down about it.

A run asks in three places, an evaluation in a fourth: the stages. A fault is armed when its stage begins, and while
the edge waits before it tries again, whatever is broken is mended. No time passes in that waiting.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import SecretStr

from edge import deprivatization
from edge.asking.client import TeacherClient
from edge.evaluation import evaluate
from edge.run import run
from edge.run_folder import RunFolder
from edge.training import Watcher
from edge.transfer_set.journal import Images, Journal
from shared import architectures
from shared.errors import MekdError
from tests.chaos_proxy import ChaosProxy, Fault
from tests.conftest import LiveServer
from tests.edge.small import small_config
from tests.edge.waiting import Time
from tests.faults import LATER_THAN_THE_TIMEOUT, NEVER_DELIVERED

BUDGET, TESTS = 100, 400
STEPS = 4
CONFIG = small_config(
    budget=BUDGET, request=25, deprivatization={"steps": STEPS}, distillation={"steps": STEPS, "batch": 4}
)
TIMES = 2
"""How often in a row the fault strikes."""
IMPATIENT = 0.3
"""Seconds of silence after which the edge gives an attempt up, where the fault is silence."""
SILENCE = {LATER_THAN_THE_TIMEOUT.name, NEVER_DELIVERED.name}


@dataclass(frozen=True)
class Cloud:
    """A server, and the truth about it."""

    url: str
    make_key: Callable[[int], str]
    """A key with that budget."""
    spent: Callable[[str], int]
    """Images that the ledger charged to a key."""
    logits: Callable[[Images], NDArray[np.float32]]
    """The right answers."""
    mend: Callable[[], None] = lambda: None
    """Start it again if it does not run."""


def cloud_of(server: LiveServer) -> Cloud:
    return Cloud(server.url, lambda budget: server.make_key(budget=budget), server.spent, server.teacher.logits)


@dataclass(frozen=True)
class Found:
    """What came of it."""

    injected: int
    lost: int
    """Images of the budget without their right answer in the journal."""
    double_paid: int
    """Images charged beyond the distinct ones that the journal has answers to."""
    outcome: str
    """`completed`, or the error's class."""
    waits: list[float] = field(default_factory=list)
    """Seconds that the edge would have waited."""


@dataclass(frozen=True)
class Trial:
    """One run in `folder` through `proxy`."""

    proxy: ChaosProxy
    client: TeacherClient
    folder: RunFolder
    fault: Fault

    def arm(self, method: str) -> None:
        self.proxy.arm(self.fault, method=method, times=TIMES)

    def arm_after(self, step: int) -> Watcher:
        """Arm for questions, when that step of step 1 is done."""

        def arm(stage: str, done: int, *_: Any) -> None:
            if (stage, done) == (deprivatization.STAGE, step):
                self.arm("POST")

        return Watcher(on_step=arm)

    def distil(self, watcher: Watcher | None = None) -> None:
        """A whole run."""
        run(CONFIG, self.client, self.folder.path, watcher=watcher)


Stage = Callable[[Trial], None]
"""Makes a trial."""


def first_contact(trial: Trial) -> None:
    trial.arm("GET")
    trial.distil()


def step_1(trial: Trial) -> None:
    trial.distil(trial.arm_after(step=1))


def pool_of_step_2(trial: Trial) -> None:
    trial.distil(trial.arm_after(step=STEPS))


def evaluation(trial: Trial) -> None:
    folder = trial.folder
    folder.claim(CONFIG)
    card: dict[str, Any] = {"dataset": "digits", "image_shape": (1, 8, 8), "classes": 10, "seed": 0}
    folder.keep_student(architectures.build("resnet8", channels=1, classes=10), "resnet8", card)
    folder.keep_results({})
    trial.arm("POST")
    evaluate(folder, trial.client, None, Watcher())


STAGES: tuple[Stage, ...] = (first_contact, step_1, pool_of_step_2, evaluation)


def meet(fault: Fault, stage: Stage, cloud: Cloud, folder: Path) -> Found:
    """Let `fault` befall `stage`; the journal and the ledger are read afterwards, whatever the outcome."""
    waiting, outcome = Time(), "completed"
    budget = TESTS if stage is evaluation else BUDGET
    key = cloud.make_key(budget)

    def wait(seconds: float) -> None:
        waiting.sleep(seconds)
        cloud.mend()
        proxy.mend()

    with (
        ChaosProxy(cloud.url) as proxy,
        TeacherClient(
            proxy.url,
            SecretStr(key),
            timeout=IMPATIENT if fault.name in SILENCE else 60.0,
            sleep=wait,
            clock=waiting.clock,
        ) as client,
    ):
        trial = Trial(proxy, client, RunFolder(folder), fault)
        journal = trial.folder.evaluation_journal if stage is evaluation else trial.folder.journal
        try:
            stage(trial)
        except MekdError as error:
            outcome = type(error).__name__
    right, unique = _answers(journal, cloud)
    injected = proxy.injected[fault.name]
    return Found(injected, budget - right, cloud.spent(key) - unique, outcome, waiting.slept)


def _answers(journal_path: Path, cloud: Cloud) -> tuple[int, int]:
    """Right answers in the journal, and distinct images with an answer."""
    with Journal(journal_path) as journal:
        pairs = journal.transfer_set()
        right = np.isclose(pairs.answers, cloud.logits(pairs.images), rtol=1e-4, atol=1e-4).all(axis=1)
        return int(right.sum()), journal.unique_images()
