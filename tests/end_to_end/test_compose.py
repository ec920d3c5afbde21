"""`docker compose up` without an engine: the very commands of docker-compose.yml as processes, on small numbers.

The containers' folders become folders of the test, the host `server` the loopback, port 8000 a free one. Otherwise
the commands are as they are; flags that make them quicker are appended.
"""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from graphlib import TopologicalSorter
from importlib.metadata import entry_points
from pathlib import Path

from tests.forked import Forked
from tests.test_deployment import SERVICES, conditions, healthcheck, image, mounts, side_of

START_SECONDS, TASK_SECONDS = 60, 120
SERVER = "http://server:8000"
QUICKER_STUDENT = """
[deprivatization]
steps = 20
[distillation]
steps = 40
evaluate_every = 20
"""


class Machine:
    """What an engine does for a compose file, as far as plain processes can.

    Args:
        root: folder of the volumes.
        appended: flags to append, by service.
    """

    def __init__(self, root: Path, appended: Mapping[str, list[str]]) -> None:
        self._root = root
        self._appended = appended
        self._url = SERVER

    def up(self) -> dict[str, str]:
        """Start every service when those that it waits for are ready, then stop; what each task said."""
        said = {}
        with ExitStack() as stack:
            for name in TopologicalSorter({name: conditions(name) for name in SERVICES}).static_order():
                if "restart" in SERVICES[name]:
                    self._url = stack.enter_context(self._running(name))
                else:
                    said[name] = self._run(name)
        return said

    def volume(self, name: str) -> Path:
        """Where a volume is on this machine."""
        return self._root / name

    def _run(self, name: str) -> str:
        """Run a task to its end."""
        process = self._started(name)
        out, err = process.communicate(TASK_SECONDS)
        assert process.returncode == 0, f"{name}: {out}{err}"
        return out + err

    @contextmanager
    def _running(self, name: str) -> Iterator[str]:
        """A service whose image's health check is content, and its URL; at the end it has to leave on SIGTERM."""
        process = self._started(name)
        try:
            url = process.stdout.readline().strip()
            check = [word.replace("http://127.0.0.1:8000", url) for word in healthcheck(side_of(name))]
            subprocess.run([sys.executable, *check[1:]], check=True, timeout=START_SECONDS)
            yield url
            process.send_signal(signal.SIGTERM)
            process.communicate(START_SECONDS)
            assert process.returncode == 0
        finally:
            process.kill()
            sys.stdout.write("".join(process.communicate()))  # pytest shows it where a test fails

    def _started(self, name: str) -> Forked:
        (program,) = json.loads(image(side_of(name))["ENTRYPOINT"])
        (script,) = entry_points(group="console_scripts", name=program)
        arguments = [self._here(name, word) for word in SERVICES[name]["command"]]
        return Forked(script.load(), *arguments, *self._appended.get(name, []), env=self._environment(name))

    def _environment(self, name: str) -> dict[str, str]:
        """This process' environment without any setting of ours, and the service's own."""
        outside = {variable: value for variable, value in os.environ.items() if not variable.startswith("MEKD_")}
        own = SERVICES[name]["environment"].items()
        return outside | {variable: self._here(name, value) for variable, value in own}

    def _here(self, name: str, word: str) -> str:
        """A word of a command, with what it names in the container as it is called here."""
        for volume, (target, _) in mounts(name).items():
            word = word.replace(target, str(self.volume(volume)))
        return word.replace(SERVER, self._url).replace("0.0.0.0", "127.0.0.1")


def accounts(ledger: Path) -> dict[str, tuple[int, int, int]]:
    """By key: budget, what was spent, and the sum of what the stored answers cost."""
    select = (
        "SELECT name, budget, spent, sum(cost) FROM clients"
        " JOIN requests ON requests.client_id = clients.id GROUP BY name"
    )
    db = sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)
    try:
        return {name: (budget, spent, paid) for name, budget, spent, paid in db.execute(select)}
    finally:
        db.close()


def test_what_compose_starts_trains_serves_distils_and_judges_and_once_more_costs_nothing(tmp_path: Path) -> None:
    quicker_student = tmp_path / "quicker.toml"
    quicker_student.write_text(QUICKER_STUDENT)
    machine = Machine(
        tmp_path,
        {
            "teacher": ["--architecture", "resnet8", "--epochs", "1"],
            "server": ["--port", "0"],
            "edge": ["--config", str(quicker_student)],
        },
    )

    said = machine.up()
    spent = accounts(machine.volume("cloud") / "ledger.sqlite")
    assert spent == {"edge": (2000, 2000, 2000), "evaluation": (400, 400, 400)}
    assert "fidelity" in said["evaluation"]
    assert (machine.volume("runs") / "digits" / "student.safetensors").exists()
    assert {path.name for path in machine.volume("keys").iterdir()} == {"edge.key", "evaluation.key"}

    again = machine.up()
    assert accounts(machine.volume("cloud") / "ledger.sqlite") == spent
    assert "nothing was trained" in again["teacher"] and "nothing was made" in again["key"]
    assert said["evaluation"] == again["evaluation"]
