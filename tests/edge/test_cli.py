import contextlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner, Result

from edge.cli import IN_ORDER_OF_USE, app
from edge.commands.options import given
from edge.progress import Display
from edge.run_folder import RunFolder
from edge.stopping import StopRequest
from shared import architectures, datasets
from shared.errors import InvalidConfig
from shared.protocol import Usage
from tests.conftest import LiveServer
from tests.edge.small import TINY


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


def test_quiet_runs_print_nothing(live_server: LiveServer, tmp_path: Path, tiny: Path) -> None:
    arguments = ["--server", live_server.url, "--out", tmp_path / "[/run]", "--config", tiny]
    quiet = invoke("distill", *arguments, "--quiet", key=live_server.make_key())
    assert (quiet.exit_code, quiet.stdout, quiet.stderr) == (0, "", "")
    again = invoke("distill", *arguments, key=live_server.make_key())
    assert "[/run]/student.safetensors" in again.stderr


def test_with_json_stdout_holds_one_document_whatever_the_command(
    live_server: LiveServer, tmp_path: Path, tiny: Path
) -> None:
    key, out = live_server.make_key(), tmp_path / "run"
    distilled = invoke("distill", "--server", live_server.url, "--out", out, "--config", tiny, "--json", key=key)
    assert json.loads(distilled.stdout) == RunFolder(out).results()
    assert distilled.stderr.splitlines() == [f"{s}: 6 of 6 steps to do" for s in ("deprivatization", "distillation")]
    measured = invoke("evaluate", "--run", out, "--json")
    assert json.loads(measured.stdout) == RunFolder(out).results()["evaluation"]
    assert json.loads(invoke("report", "--run", out, "--json").stdout) == {"report": str(out / "report.html")}

    Image.fromarray(np.full((8, 8), 200, np.uint8)).save(image := tmp_path / "a.png")
    asked = json.loads(invoke("query", image, "--server", live_server.url, "--json", key=key).stdout)
    (answer,) = asked["answers"]
    logits = live_server.teacher.logits(np.full((1, 1, 8, 8), 200, np.uint8))[0]
    assert answer == {"image": str(image), "class": int(logits.argmax()), "logits": pytest.approx(logits.tolist())}
    assert asked["usage"]["spent"] == live_server.spent(key) == 101


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


def test_a_leaderboard_comes_without_torch() -> None:
    code = "import sys, edge.commands.leaderboard, edge.leaderboard.writing; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def said(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def work(display: Display) -> None:
    """Half a run that an earlier start had begun, with a key that others use too."""
    watcher = display.watcher(StopRequest())
    usage = Usage(
        client="edge-1",
        budget=500,
        spent=150,
        remaining=350,
        policy="logits",
        images_per_minute=1000,
        images_per_request=9,
    )
    watcher.on_key(usage, 30)
    watcher.on_answer(40)
    for step in (3, 4, 5):
        watcher.on_step("distillation", step, 9, {"held-out agreement": 1 - step / 10} if step < 5 else {})


def test_a_terminal_shows_steps_what_is_left_to_spend_and_the_agreement() -> None:
    now = iter([100.0, *[175.0] * 1000])
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with Display(console, 100, clock=lambda: next(now)) as display:
        work(display)
    words = " ".join(re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", said(console)).split())
    assert "5/9 steps" in words and "ETA" in words
    assert "queries left 30 of 100 of this run; 310 of 500 of key edge-1" in words
    assert "held-out answers 60.0% agree; 70.0% at best" in words
    assert "elapsed 0:01:15" in words


def test_elsewhere_than_on_a_terminal_a_stage_is_one_line() -> None:
    console = Console(file=io.StringIO(), width=120)
    with Display(console, 100) as display:
        work(display)
    assert said(console) == "distillation: 7 of 9 steps to do\n"


@pytest.mark.parametrize("terminal", [True, False])
def test_a_quiet_display_shows_nothing(terminal: bool) -> None:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120)
    with Display(console, 100, quiet=True) as display:
        work(display)
    assert said(console) == ""


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("distill --response ", {"soft", "top1"}),
        ("distill --student ", set(architectures.NAMES)),
        ("distill --student vgg1", {"vgg11", "vgg13", "vgg16", "vgg19"}),
        ("distill --data ", {*datasets.LOADERS, "runs"}),
        ("distill --data di", {"digits"}),
        ("distill --link l", {"lan", "lora"}),
        ("distill --preset of", {"official"}),
        ("report --run runs/", {"runs/mine", "runs/other"}),
        ("report --run runs/mine --compare runs/o", {"runs/other"}),
        (
            "leaderboard --rows runs/",
            {"runs/mine", "runs/other", "runs/no-run", "runs/rows.jsonl", "runs/rows.parquet"},
        ),
    ],
)
def test_the_shell_is_offered_values(tmp_path: Path, words: str, offered: set[str]) -> None:
    for run in ("runs/mine", "runs/other"):
        (tmp_path / run).mkdir(parents=True)
        (tmp_path / run / "config.json").touch()
    (tmp_path / "runs/no-run").mkdir()
    for name in ("rows.jsonl", "rows.parquet", "rows.csv"):
        (tmp_path / "runs" / name).touch()
    line = f"mekd-edge {words}"
    variables = {"_MEKD_EDGE_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    with contextlib.chdir(tmp_path):
        shown = CliRunner().invoke(app, prog_name="mekd-edge", env=variables)
    assert set(shown.stdout.split()) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_can_be_shown(shell: str) -> None:
    variables = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    code = f"from edge.cli import app; app(['--show-completion', '{shell}'], prog_name='mekd-edge')"
    shown = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | variables, capture_output=True, text=True, timeout=60
    )
    assert shown.returncode == 0 and "_MEKD_EDGE_COMPLETE=complete_" in shown.stdout.replace("env ", "")


@pytest.mark.parametrize("flags", [["--response", "hard"], ["--budget", "1"], ["--kl-weight", "-1"]])
def test_flags_that_no_run_can_have_are_refused_at_once(tmp_path: Path, flags: list[str]) -> None:
    refused = invoke("distill", "--server", "http://x", "--out", tmp_path / "run", *flags, key="k")
    assert refused.exit_code == 2 and flags[0] in refused.stderr and not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", IN_ORDER_OF_USE, ids=lambda command: command.__name__)
def test_every_command_shows_an_example_that_it_accepts(command: Callable[..., None]) -> None:
    name = command.__name__.rstrip("_")
    example = re.search(rf"^ *Example: mekd-edge {name} (.*)", command.__doc__ or "", flags=re.MULTILINE)
    assert example
    parser: Any = typer.main.get_command(app)
    parser.commands[name].make_context(name, shlex.split(example[1]))


@pytest.mark.parametrize("command", IN_ORDER_OF_USE, ids=lambda command: command.__name__)
def test_every_option_is_explained(command: Callable[..., None]) -> None:
    parser: Any = typer.main.get_command(app)
    found = parser.commands[command.__name__.rstrip("_")]
    assert [parameter.name for parameter in found.params if not parameter.help] == []


def test_the_display_passes_a_stop_on() -> None:
    stop = StopRequest()
    with Display(Console(file=io.StringIO()), 1) as display:
        watcher = display.watcher(stop)
        assert not watcher.should_stop()
        stop.ask()
        assert watcher.should_stop()
