"""Real server processes."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from server.cli import main
from tests.forked import Forked

MEKD_SERVER = (sys.executable, "-m", "server")


def run_cli(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The program's end with these arguments, in a process that is forked from a warm one."""
    process = Forked(main, *map(str, arguments))
    out, err = process.communicate(120)
    assert process.returncode is not None
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


@contextmanager
def served(
    *arguments: str | Path, stderr: int | IO[str] = subprocess.PIPE
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server process and its URL; `process.communicate()` is the caller's to call, before the pipes are full."""
    command = [*MEKD_SERVER, "serve", "--port", "0", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


@contextmanager
def served_at_once(*arguments: str | Path) -> Iterator[tuple[Forked, str]]:
    """The same in a process that is forked from a warm one."""
    process = Forked(main, "serve", "--port", "0", *map(str, arguments))
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()
