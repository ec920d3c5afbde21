"""Whatever befalls an exchange, in whatever stage: nothing is lost, and nothing is paid twice.

All faults, each in one of the stages; every fault in every stage is `python -m tests.benchmarks.fault_matrix`.
"""

from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
from pydantic import SecretStr

from edge.asking.client import TeacherClient
from edge.asking.exchange import BACK_OFF_FIRST, BACK_OFF_LAST
from edge.asking.oracle import Oracle
from edge.transfer_set.journal import Journal
from shared.errors import ApiError, BudgetExhausted, InternalError, OutputNotAllowed, Unauthorized
from shared.protocol import LOGITS
from tests.chaos_proxy import ChaosProxy, Fault
from tests.conftest import LiveServer, running
from tests.edge.waiting import Time
from tests.end_to_end.faulty_runs import STAGES, TIMES, Stage, cloud_of, evaluation, first_contact, meet
from tests.eventually import eventually
from tests.fakes import LinearTeacher
from tests.faults import CUTS, FAULTS, GATEWAY, RETRY_AFTER, TOLD_TO_WAIT

IMAGES = np.arange(2 * 64, dtype=np.uint8).reshape(2, 1, 8, 8)
CELLS = [*zip(FAULTS, cycle(STAGES[1:])), *((fault, first_contact) for fault in FAULTS[::6])]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with running(LinearTeacher(), tmp_path_factory.mktemp("cloud") / "ledger.sqlite") as server:
        yield server


@pytest.mark.parametrize(("fault", "stage"), CELLS, ids=[f"{f.name}-{s.__name__}" for f, s in CELLS])
def test_a_fault_loses_nothing_and_makes_nothing_paid_twice(
    server: LiveServer, tmp_path: Path, fault: Fault, stage: Stage
) -> None:
    found = meet(fault, stage, cloud_of(server), tmp_path / "run")
    assert (found.outcome, found.injected, found.lost, found.double_paid) == ("completed", TIMES, 0, 0)


def test_told_to_wait_the_edge_waits_at_least_so_long_and_hardly_longer(server: LiveServer, tmp_path: Path) -> None:
    waits = meet(TOLD_TO_WAIT, evaluation, cloud_of(server), tmp_path / "run").waits
    assert len(waits) == TIMES and all(RETRY_AFTER <= wait <= RETRY_AFTER + 0.5 for wait in waits)


def test_waits_between_attempts_are_drawn_from_zero_to_a_doubling_ceiling(server: LiveServer) -> None:
    waiting = Time()
    with (
        ChaosProxy(server.url) as proxy,
        TeacherClient(proxy.url, SecretStr(""), patience=1000, sleep=waiting.sleep, clock=waiting.clock) as client,
    ):
        proxy.arm(GATEWAY, times=10_000)
        with pytest.raises(InternalError):
            client.ask(IMAGES, LOGITS, "key")
    ceilings = [min(BACK_OFF_LAST, BACK_OFF_FIRST * 2**attempt) for attempt in range(len(waiting.slept))]
    assert all(0 <= wait <= ceiling for wait, ceiling in zip(waiting.slept, ceilings, strict=True))
    late = waiting.slept[10:]
    assert len(late) > 200 and min(late) < 0.2 * BACK_OFF_LAST and max(late) > 0.8 * BACK_OFF_LAST
    assert 0.4 < np.mean(late) / BACK_OFF_LAST < 0.6
    assert proxy.requests["POST"] == proxy.injected[GATEWAY.name] == len(waiting.slept) + 1


@pytest.mark.parametrize(
    ("budget", "policy", "revoked", "refusal"),
    [
        (1, "logits", False, BudgetExhausted),
        (9, "top1", False, OutputNotAllowed),
        (9, "logits", True, Unauthorized),
    ],
)
def test_a_final_refusal_is_asked_for_once(
    server: LiveServer, budget: int, policy: str, revoked: bool, refusal: type[ApiError]
) -> None:
    key, waiting = server.make_key(budget=budget, policy=policy), Time()
    if revoked:
        server.revoke(key)
    with (
        ChaosProxy(server.url) as proxy,
        TeacherClient(proxy.url, SecretStr(key), sleep=waiting.sleep, clock=waiting.clock) as client,
        pytest.raises(refusal),
    ):
        client.ask(IMAGES, LOGITS, "key")
    assert (proxy.requests["POST"], waiting.slept, server.spent(key)) == (1, [], 0)


@pytest.mark.parametrize("fault", CUTS, ids=lambda fault: fault.name)
def test_every_byte_of_a_cut_answer_and_of_asking_again_is_accounted_for(
    server: LiveServer, tmp_path: Path, fault: Fault
) -> None:
    key, waiting = server.make_key(), Time()
    with (
        ChaosProxy(server.url) as proxy,
        TeacherClient(proxy.url, SecretStr(key), sleep=waiting.sleep, clock=waiting.clock) as client,
        Journal(tmp_path / "journal.sqlite") as journal,
    ):
        proxy.arm(fault, times=3)
        pairs = Oracle(client, journal, LOGITS).ask("stage", IMAGES)
        traffic = journal.traffic("stage")
        eventually(lambda: (traffic.up, traffic.down) == (proxy.up, proxy.down))  # which counts after it has sent
    assert proxy.requests["POST"] == 4 and server.spent(key) == len(IMAGES)
    assert (pairs.answers == server.teacher.logits(IMAGES)).all()
