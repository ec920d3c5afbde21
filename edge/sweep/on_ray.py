"""Tasks on a Ray cluster, of this machine or of several. Ray is imported when it is used: `pip install ".[ray]"`.

Tasks find the same folders and the same installed `mekd` on each machine: a run's folder is on a disk they share.
"""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edge.sweep.attempt import Ending, How, described
from edge.sweep.engine import ATTEMPTS, GRACE_SECONDS, OnOutcome, OnStart, ShouldStop, drive
from edge.sweep.ray_attempt import attempt_on_ray
from edge.sweep.tasks import Task
from shared import compute
from shared.errors import InvalidConfig, Unreachable

if TYPE_CHECKING:
    from ray import ObjectRef

KNOCK_SECONDS = 10.0


class RayEngine:
    """Tasks as Ray's tasks, each with its `threads` as CPUs, as many at once as the cluster has CPUs for.

    A connection that this process has to Ray is used and left; otherwise one is made, and closed at the end. If this
    process is killed, Ray ends the tasks in seconds, and in a minute what it has started to watch over them.

    Args:
        address: of a cluster that runs, `host:6379` or `auto`; None starts one for this sweep, on this machine.
        threads: threads of each task.
        attempts: how often a task is started whose process dies.
        grace: seconds that running tasks get to store their state when the sweep is stopped.
        cores: CPUs of the cluster that is started; by default all that this process may use.

    Raises:
        InvalidConfig: a number below 1.
    """

    def __init__(
        self,
        address: str | None = None,
        threads: int = 1,
        *,
        attempts: int = ATTEMPTS,
        grace: float = GRACE_SECONDS,
        cores: int | None = None,
    ) -> None:
        self._cores = cores if cores is not None else compute.usable_cores()
        if min(self._cores, threads, attempts) < 1:
            raise InvalidConfig(f"{self._cores} cores, {threads} threads, {attempts} attempts: at least 1 each.")
        self._address = address
        self._threads = threads
        self._attempts = attempts
        self._grace = grace

    def run(self, tasks: Sequence[Task], on_start: OnStart, on_outcome: OnOutcome, should_stop: ShouldStop) -> None:
        """See `Engine.run`.

        Raises:
            InvalidConfig: Ray is not installed, or no machine of the cluster has CPUs for a task.
            Unreachable: there is no cluster at the address.
        """
        with _connected(self._address, self._cores), _started(self._threads) as started:
            drive(tasks, started, on_start, on_outcome, should_stop, attempts=self._attempts, grace=self._grace)


@contextmanager
def _connected(address: str | None, cores: int) -> Iterator[None]:
    with _own_handlers():
        ours = _connect(address, cores)
    try:
        yield
    finally:
        if ours:
            import ray

            ray.shutdown()


def _connect(address: str | None, cores: int) -> bool:
    """False if there was a connection before."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # tasks share a GPU, as processes do
    os.environ.setdefault("RAY_worker_niceness", "0")  # of a cluster of its own: its work is why the machine is used
    # Ray prints on stdout, where only results belong, that workers died; the outcomes say so.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    try:
        import ray
    except ImportError:
        raise InvalidConfig('Ray is not installed. pip install ".[ray]", or take the local engine.') from None
    if ray.is_initialized():
        return False
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        _knock(address)
        if address is None:
            ray.init("local", num_cpus=cores, include_dashboard=False, **quiet)
        else:
            ray.init(address, **quiet)
    except (OSError, ValueError, RuntimeError) as error:
        where = address or "this machine"
        raise Unreachable(f"No Ray cluster at {where}: {error} Does it run? ray status tells.") from None
    return True


def _knock(address: str | None) -> None:
    """Fail at once where nobody listens: Ray would go on trying for two minutes."""
    host, _, port = (address or "").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.removeprefix("ray://"), int(port)), timeout=KNOCK_SECONDS).close()


@contextmanager
def _own_handlers() -> Iterator[None]:
    """Ray takes SIGTERM for itself when it connects, and a stop would not be heard any more."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def _started(threads: int) -> Iterator["_Started"]:
    started = _Started(threads)
    try:
        yield started
    finally:
        started.kill()


class _Started:
    """Attempts that Ray was asked for, none beyond what the cluster has CPUs for, so that they begin at once."""

    def __init__(self, threads: int) -> None:
        import ray

        self._ray = ray
        self._threads = threads
        # Not Ray's retries: they would not be counted, and would go on while the sweep stops.
        self._attempt = ray.remote(num_cpus=threads, max_retries=0)(attempt_on_ray)
        self._tasks: dict[ObjectRef[Ending], tuple[Task, float]] = {}
        self._asked: set[ObjectRef[Ending]] = set()
        if (most := max(self._cpus(), default=0)) < threads:
            raise InvalidConfig(f"No machine of the cluster has {threads} CPUs for a task: {most:g} at most.")

    def free(self) -> bool:
        return len(self._tasks) < sum(cpus // self._threads for cpus in self._cpus())

    def start(self, task: Task) -> None:
        reference = self._attempt.options(name=task.name).remote(self._threads, task.work, task.arguments)
        self._tasks[reference] = task, time.monotonic()

    def endings(self, seconds: float) -> Iterator[tuple[Task, Ending]]:
        if not self._tasks:
            time.sleep(seconds)
            return
        done, _ = self._ray.wait(list(self._tasks), timeout=seconds)
        for reference in done:
            task, began = self._tasks.pop(reference)
            yield task, self._received(reference, time.monotonic() - began)

    def ask_to_stop(self) -> None:
        for reference in self._tasks.keys() - self._asked:  # once: a second request would interrupt the saving
            self._ray.cancel(reference)
            self._asked.add(reference)

    def kill(self) -> None:
        for reference in self._tasks:
            self._ray.cancel(reference, force=True)

    def _cpus(self) -> list[float]:
        """Of each machine, as they come and go."""
        nodes: list[dict[str, Any]] = self._ray.nodes()  # type: ignore[no-untyped-call]
        return [node["Resources"].get("CPU", 0.0) for node in nodes if node["Alive"]]

    def _received(self, reference: "ObjectRef[Ending]", seconds: float) -> Ending:
        errors = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except errors.TaskCancelledError:
            return Ending(How.STOPPED, seconds=seconds)
        except errors.RayTaskError as error:  # what is sent there or back cannot be sent
            return Ending(How.RAISED, error=described(error.cause), seconds=seconds)
        except errors.RayError:
            return Ending(How.DIED, seconds=seconds)
