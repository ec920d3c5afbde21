"""Tasks in child processes on this machine.

A process is used again for the next task, because importing torch takes seconds. Each has a pipe of its own, so one
that dies takes nothing with it but its attempt; the pools of `concurrent.futures` and loky fail all that is in them.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Any, Self

from edge.sweep.attempt import Ending, How, attempt, described
from edge.sweep.engine import ATTEMPTS, GRACE_SECONDS, OnOutcome, OnStart, ShouldStop, drive
from edge.sweep.tasks import Task
from shared import compute
from shared.errors import InvalidConfig

LEAVE_SECONDS = 5.0
"""An idle process that was told to end gets this time."""
_spawn = multiprocessing.get_context("spawn")
"""A fork would copy the threads' locks of a parent that has torch, but not the threads."""


class LocalEngine:
    """Processes on the cores of this machine.

    Args:
        workers: processes at once; by default as many as the cores have room for.
        threads: threads of each; by default what the cores grant to each of `workers`, or 1.
        attempts: how often a task is started whose process dies.
        grace: seconds that running tasks get to store their state when the sweep is stopped.

    Raises:
        InvalidConfig: a number below 1.
    """

    def __init__(
        self,
        workers: int | None = None,
        threads: int | None = None,
        *,
        attempts: int = ATTEMPTS,
        grace: float = GRACE_SECONDS,
    ) -> None:
        cores = compute.usable_cores()
        self.threads = threads if threads is not None else max(1, cores // max(1, workers or cores))
        self.workers = workers if workers is not None else max(1, cores // max(1, self.threads))
        if min(self.workers, self.threads, attempts) < 1:
            raise InvalidConfig(
                f"{self.workers} workers, {self.threads} threads, {attempts} attempts: at least 1 each."
            )
        self._attempts = attempts
        self._grace = grace

    def run(self, tasks: Sequence[Task], on_start: OnStart, on_outcome: OnOutcome, should_stop: ShouldStop) -> None:
        """See `Engine.run`."""
        with _Processes(self.workers, self.threads) as processes:
            drive(tasks, processes, on_start, on_outcome, should_stop, attempts=self._attempts, grace=self._grace)


@dataclass
class _Worker:
    process: SpawnProcess
    pipe: Connection
    task: Task | None = None
    began: float = 0.0


class _Processes:
    """At most `most` workers, started when they are needed; a context manager that leaves no process behind."""

    def __init__(self, most: int, threads: int) -> None:
        self._most = most
        self._threads = threads
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.pipe.close()
            if worker.task:
                worker.process.kill()
        until = time.monotonic() + LEAVE_SECONDS
        for worker in self._workers:
            worker.process.join(max(0.0, until - time.monotonic()))
            worker.process.kill()
            worker.process.join()
            worker.process.close()
        self._workers.clear()

    def free(self) -> bool:
        return len(self._busy()) < self._most

    def start(self, task: Task) -> None:
        worker = self._idle() or self._new()
        # If it has died just now, the end of its pipe says so, as if it had died at work.
        with suppress(BrokenPipeError, ConnectionResetError):
            worker.pipe.send((task.work, task.arguments))
        worker.task, worker.began = task, time.monotonic()

    def endings(self, seconds: float) -> Iterator[tuple[Task, Ending]]:
        busy = self._busy()
        if not busy:
            time.sleep(seconds)
        heard = connection.wait([worker.pipe for worker in busy], seconds)
        for worker in busy:
            if worker.pipe in heard and (task := worker.task):
                ending = self._received(worker)
                worker.task = None
                yield task, ending

    def ask_to_stop(self) -> None:
        for worker in self._busy():
            worker.process.terminate()  # after the terminal's Ctrl-C a second SIGINT would interrupt the saving

    def _busy(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.task]

    def _idle(self) -> _Worker | None:
        for worker in [worker for worker in self._workers if not worker.task]:
            if worker.process.is_alive():
                return worker
            self._bury(worker)
        return None

    def _new(self) -> _Worker:
        pipe, theirs = _spawn.Pipe()
        process = _spawn.Process(target=serve, args=(theirs, self._threads), name="sweep-worker")
        resource_tracker.ensure_running()  # it would unblock SIGINT when the process starts it
        # A Ctrl-C while the process is starting would print its traceback; blocked is what it inherits.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()
        worker = _Worker(process, pipe)
        self._workers.append(worker)
        return worker

    def _received(self, worker: _Worker) -> Ending:
        try:
            ending: Ending = worker.pipe.recv()
        except (EOFError, OSError):
            self._bury(worker)
            return Ending(How.DIED, seconds=time.monotonic() - worker.began)
        except Exception as error:  # a value that cannot be made again here
            return Ending(How.RAISED, error=described(error), seconds=time.monotonic() - worker.began)
        return ending

    def _bury(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.pipe.close()
        worker.process.kill()
        worker.process.join()
        worker.process.close()


def serve(pipe: "Connection[Any, Any]", threads: int) -> None:
    """Make the attempts that come through `pipe` until it is closed; the main function of a worker."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # between tasks there is nothing to stop: the engine closes the pipe
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, daemon=True).start()
    compute.keep_freed_memory()
    compute.limit_threads(threads)
    while True:
        try:
            work, arguments = pipe.recv()
        except (EOFError, OSError):
            return
        except Exception as error:  # the function is not to be found here, for instance
            ending = Ending(How.RAISED, error=described(error))
        else:
            ending = attempt(work, arguments)
        try:
            pipe.send(ending)
        except OSError:
            return
        except Exception as error:  # the value cannot be sent
            pipe.send(Ending(How.RAISED, error=described(error), seconds=ending.seconds))


def _end_with_parent() -> None:
    """A parent that was killed closes no pipe in time: work that nobody waits for would go on for hours."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
