"""A teacher behind a meter on this machine: the real server as a child process, for sweeps, the demo and tests.

Nothing of `server` is imported: what is started here is what a container would start.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import SecretStr

from shared.errors import InvalidConfig, Unreachable

START_SECONDS, STOP_SECONDS = 60.0, 35.0
POLL_SECONDS = 0.02


class LocalCloud:
    """`python -m server serve` for one teacher and one ledger; a context manager that leaves no process behind.

    Where this process is killed, the server ends by itself.

    Its output goes to a file beside the ledger, `<ledger>.log`.

    Args:
        teacher_path: checkpoint of the teacher.
        ledger_path: SQLite ledger, created where there is none.
        threads: threads that the teacher may use; by default all there are.
    """

    url: str
    """Where the server listens; the same after every `restart`."""

    def __init__(self, teacher_path: Path, ledger_path: Path, *, threads: int | None = None) -> None:
        self._teacher = teacher_path
        self._ledger = ledger_path
        self._threads = threads
        self._port = 0
        self._log = ledger_path.with_name(f"{ledger_path.name}.log")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.restart()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def restart(self) -> None:
        """Start the server, anew if it runs, on the port that it had, and wait until it listens.

        Raises:
            Unreachable: it ended, or said nothing for a minute.
        """
        self.stop()
        self._log.parent.mkdir(parents=True, exist_ok=True)
        flags: list[str | Path] = ["--teacher", self._teacher, "--ledger", self._ledger]
        flags += ["--host", "127.0.0.1", "--port", str(self._port), "--parent", str(os.getpid())]
        if self._threads:
            flags += ["--threads", str(self._threads)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "server", "serve", *flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.url = self._announced_url(self._process)
        self._port = int(self.url.rpartition(":")[2])

    def create_key(self, name: str, budget: int, policy: str = "logits") -> SecretStr:
        """The API key `name`, made if there is none: it may ask about `budget` images and see their `policy`.

        Kept in a file beside the ledger, `<name>.key`, so that an experiment can be stopped and go on.
        """
        file = self._ledger.with_name(f"{name}.key")
        flags = ["--name", name, "--budget", str(budget), "--policy", policy]
        flags += ["--ledger", str(self._ledger), "--key-file", str(file), "--if-missing"]
        command = [sys.executable, "-m", "server", "keys", "create", *flags]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            raise InvalidConfig(f"The server made no key '{name}'. It said: {made.stderr.strip()}")
        return SecretStr(file.read_text().strip())

    def stop(self) -> None:
        """SIGTERM: requests in flight are finished first."""
        if self._process:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
            self._process.wait()
            self._process = None

    def kill(self) -> None:
        """SIGKILL: the server loses whatever it has not committed."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _announced_url(self, process: subprocess.Popen[bytes]) -> str:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            if said := re.search(r"(https?://\S+:\d+)\s", self._log.read_text(errors="replace")):
                return said[1]
            time.sleep(POLL_SECONDS)
        self.stop()
        raise Unreachable(f"The server did not start. It said:\n{self._log.read_text(errors='replace')[-2000:]}")
