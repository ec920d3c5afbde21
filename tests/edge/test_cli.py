import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner, Result

from edge.cli import app
from edge.commands.options import given
from edge.progress import Display
from edge.run_folder import RunFolder
from edge.stopping import StopRequest
from shared.errors import InvalidConfig
from tests.conftest import LiveServer

TINY = """
budget = 100
[deprivatization]
steps = 6
batch = 8
width = 8
[distillation]
steps = 6
batch = 8
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A config file that takes a second."""
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


def invoke(*arguments: object, key: str | None = None, **env: str) -> Result:
    environment = {"MEKD_API_KEY": key, "MEKD_API_KEY_FILE": None, "MEKD_SERVER_URL": None, "COLUMNS": "200"}
    return CliRunner().invoke(app, list(map(str, arguments)), env=environment | env, catch_exceptions=False)


def test_the_four_commands_work_one_after_the_other(live_server: LiveServer, tmp_path: Path, tiny: Path) -> None:
    key, out = live_server.make_key(budget=100), tmp_path / "run"
    distilled = invoke("distill", "--server", live_server.url, "--out", out, "--config", tiny, "--seed", 3, key=key)
    assert distilled.exit_code == 0 and str(out / "student.safetensors") in distilled.stderr
    assert "deprivatization: 6 of 6 steps to do" in distilled.stderr and distilled.stdout == ""
    config = RunFolder(out).config()
    assert (config.seed, config.budget, config.deprivatization.steps) == (3, 100, 6)
    assert live_server.spent(key) == 100

    measured = invoke("evaluate", "--run", out, "--server", live_server.url, key=live_server.make_key(budget=400))
    assert measured.exit_code == 0 and "fidelity" in measured.stderr
    reported = invoke("report", "--run", out)
    assert reported.exit_code == 0 and (out / "report.html").exists()

    Image.fromarray(np.full((8, 8), 200, np.uint8)).save(image := tmp_path / "a[bold].png")
    asked = invoke("query", image, "--server", live_server.url, key=live_server.make_key(budget=5))
    assert asked.exit_code == 0 and "a[bold].png" in asked.stdout and "logit 9" in asked.stdout
    assert "4 of 5 queries left" in asked.stderr


def test_quiet_runs_print_no_table(live_server: LiveServer, tmp_path: Path, tiny: Path) -> None:
    arguments = ["--server", live_server.url, "--out", tmp_path / "[/run]", "--config", tiny]
    quiet = invoke("distill", *arguments, "--quiet", key=live_server.make_key())
    assert quiet.stderr.splitlines() == [f"{s}: 6 of 6 steps to do" for s in ("deprivatization", "distillation")]
    again = invoke("distill", *arguments, key=live_server.make_key())
    assert "[/run]/student.safetensors" in again.stderr


def test_the_key_and_the_server_may_come_from_the_environment(
    live_server: LiveServer, tmp_path: Path, tiny: Path
) -> None:
    key, file = live_server.make_key(), tmp_path / "key"
    file.write_text(f"{key}\n")
    env = {"MEKD_API_KEY_FILE": str(file), "MEKD_SERVER_URL": live_server.url}
    assert invoke("distill", "--out", tmp_path / "run", "--config", tiny, **env).exit_code == 0
    assert live_server.spent(key) == 100


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_key_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InvalidConfig, match=f"MEKD_API_KEY_FILE names {file}, which cannot be read"):
        invoke("distill", "--server", "http://x", "--out", tmp_path / "run", MEKD_API_KEY_FILE=str(file))


def test_without_a_key_both_ways_to_give_one_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="Set MEKD_API_KEY, or MEKD_API_KEY_FILE"):
        invoke("distill", "--server", "http://x", "--out", tmp_path / "run")


def test_there_is_no_flag_for_the_key() -> None:
    for command in ("distill", "evaluate", "query"):
        shown = invoke(command, "--help").stdout
        assert "--server" in shown and not re.search("--[a-z-]*(key|token|password)", shown)


def test_flags_that_were_not_given_change_nothing() -> None:
    flags: dict[str, Any] = {"seed": 0, "budget": None, "below": {"weight": 0.0, "other": None}, "empty": {"a": None}}
    assert given(flags) == {"seed": 0, "below": {"weight": 0.0}}


def test_help_comes_without_torch() -> None:
    code = "import sys, edge.cli, edge.config; assert not {'torch', 'httpx', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("terminal", [True, False])
def test_the_display_shows_answers_and_steps(terminal: bool) -> None:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120, force_interactive=terminal)
    with Display(console, 100) as display:
        watcher = display.watcher(StopRequest())
        watcher.on_answer(40)
        watcher.on_step("distillation", 3, 9, {"held-out agreement": 0.25})
        watcher.on_step("distillation", 4, 9, {})
    assert isinstance(console.file, io.StringIO)
    said = console.file.getvalue()
    if terminal:
        assert "40/100" in said and "4/9" in said and "25.0% on held-out answers" in said
    else:
        assert said == "distillation: 7 of 9 steps to do\n"


def test_the_display_passes_a_stop_on() -> None:
    stop = StopRequest()
    with Display(Console(file=io.StringIO()), 1) as display:
        watcher = display.watcher(stop)
        assert not watcher.should_stop()
        stop.ask()
        assert watcher.should_stop()
