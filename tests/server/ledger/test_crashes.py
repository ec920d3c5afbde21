"""A crash at every statement boundary of a charge, and kill -9 of real servers under load: the books stay right.

The boundaries are not listed anywhere: the n-th one is crashed at for n = 0, 1, 2, ... until the charge gets through.
"""

import itertools
import signal
import subprocess
import sys

from tests.server.ledger.asking import answer, known, opened, replay, settle
from tests.server.ledger.databases import Database, check_invariants
from tests.server.ledger.killing import kill_under_load


class Crash(Exception):
    """The process would be gone here."""


class CrashAt:
    """A failpoint that lets `boundaries` statements of a charge pass, and crashes after the next."""

    def __init__(self) -> None:
        self.left: int | None = None

    def __call__(self, statement: str) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.left = None
                raise Crash


def test_a_failure_after_any_statement_of_a_charge_leaves_all_of_it_or_nothing(database: Database) -> None:
    crash = CrashAt()
    with database.open(failpoint=crash) as ledger, database.open() as other:
        client = opened(ledger)
        for boundary in itertools.count():
            key, spent = f"k{boundary}", known(other).spent
            crash.left = boundary
            try:
                settle(ledger, client, key, 3, answer("a"))
                break
            except Crash:
                pass
            finally:
                crash.left = None
            stored = replay(other, client, key)
            assert (stored, known(other).spent) in [(None, spent), (answer("a"), spent + 3)]
            check_invariants(database)
            again = settle(ledger, client, key, 3, answer("a"))
            assert again.replayed == (stored is not None)
            assert known(other).spent == spent + 3
        assert boundary >= 4, "BEGIN, insert, charge, COMMIT at least"
        assert ledger.audit().faults == ()


DIE_IN_A_CHARGE = """
import os, signal, sys
from tests.server.ledger.asking import answer, known, settle
from tests.server.ledger.databases import at_url

url, boundary = sys.argv[1], int(sys.argv[2])
left = None

def die(statement):
    global left
    if left is not None:
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

with at_url(url).open(failpoint=die) as ledger:
    client = known(ledger)
    left = boundary
    settle(ledger, client, f"k{boundary}", 3, answer("a"))
    left = None
"""


def test_a_process_killed_after_any_statement_of_a_charge_leaves_all_of_it_or_nothing(database: Database) -> None:
    charged, boundaries = 0, 0
    with database.open() as ledger:
        client = opened(ledger)
        while die_in_a_charge(database, boundaries):
            check_invariants(database)
            key = f"k{boundaries}"
            stored = replay(ledger, client, key)
            assert settle(ledger, client, key, 3, answer("a")).replayed == (stored is not None)
            charged, boundaries = charged + 3, boundaries + 1
            assert known(ledger).spent == charged
        assert boundaries >= 4, "BEGIN, insert, charge, COMMIT at least"
        assert replay(ledger, client, f"k{boundaries}") == answer("a")
        assert ledger.audit().faults == ()


def die_in_a_charge(database: Database, boundary: int) -> bool:
    """Whether a process that charges reached the boundary, where it is killed."""
    command = [sys.executable, "-c", DIE_IN_A_CHARGE, database.url, str(boundary)]
    code = subprocess.run(command, timeout=60).returncode
    assert code in {0, -signal.SIGKILL}
    return code != 0


def test_servers_killed_under_load_lose_nothing_and_charge_each_answer_once(database: Database) -> None:
    found = kill_under_load(database, kills=3, clients=8, seed=1)
    assert found.sound, found
    assert found.answers > 50 and found.replays > 10 and found.broken_connections > 0, found
    check_invariants(database)
