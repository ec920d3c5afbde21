"""Programs in processes of their own that start at once: forked from one process that has imported torch already.

An import of torch and of the web framework takes seconds, and the suite starts dozens of such programs.
"""

import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection

IMPORTED = (
    "edge.run",
    "edge.evaluation",
    "edge.asking.client",
    "edge.progress",
    "edge.report.summary",
    "server.serving",
    "server.cli",
    "tests.server.ledger.linear_server",
    "sklearn.datasets",
    "torch._dynamo",
)
"""What the commands import when they are called, and torch when it optimises."""

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload([__name__, *IMPORTED])


class Forked:
    """`main()` with these arguments, to be used like a `subprocess.Popen` with pipes and text.

    Args:
        main: the program, as an entry point names it.
        arguments: of its command line.
        env: its environment; by default ours.
    """

    def __init__(self, main: Callable[[], None], *arguments: str, env: Mapping[str, str] | None = None) -> None:
        (out, to_out), (err, to_err) = os.pipe(), os.pipe()
        self.stdout, self.stderr = os.fdopen(out), os.fdopen(err)
        with Connection(to_out, readable=False) as out_end, Connection(to_err, readable=False) as err_end:
            ends = out_end, err_end
            self._process = context.Process(
                target=_run, args=(main, arguments, dict(os.environ if env is None else env), *ends)
            )
            self._process.start()

    @property
    def pid(self) -> int:
        """Of the process."""
        pid = self._process.pid
        assert pid is not None
        return pid

    @property
    def returncode(self) -> int | None:
        """Once it has ended; of a signal the negative number."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Where it still runs."""
        if self._process.is_alive():
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What else it says on stdout and stderr until it ends; the second time, nothing."""
        if self.stdout.closed:
            return "", ""
        with self.stdout, self.stderr, ThreadPoolExecutor(2) as pool:
            reading = [pool.submit(stream.read) for stream in (self.stdout, self.stderr)]
            self._process.join(timeout)
            ended = not self._process.is_alive()
            self.kill()
            out, err = (said.result() for said in reading)
        assert ended, f"it does not end: {out}{err}"
        return out, err


def _run(
    main: Callable[[], None], arguments: tuple[str, ...], env: dict[str, str], out: Connection, err: Connection
) -> None:
    for stream, end in ((sys.stdout, out), (sys.stderr, err)):
        os.dup2(end.fileno(), stream.fileno())
        end.close()
    os.environ.clear()
    os.environ.update(env)
    sys.argv = [main.__module__, *arguments]
    main()
