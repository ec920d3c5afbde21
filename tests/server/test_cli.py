import json
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from server.auth import key_hash
from server.cli import app
from server.ledger import open_ledger
from server.ledger.protocol import Client
from shared import architectures, checkpoints
from shared.codec import encode_request
from shared.errors import InvalidConfig
from tests.server.asking import INFER, some_images
from tests.server.processes import run_cli, served_at_once

runner = CliRunner()


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    """An untrained teacher's checkpoint."""
    path = tmp_path / "teacher.safetensors"
    card = checkpoints.Card(
        role="teacher", architecture="resnet8", dataset="digits", image_shape=(1, 8, 8), classes=10, seed=0
    )
    checkpoints.save(path, architectures.build("resnet8", channels=1, classes=10), card)
    return path


def accounts(ledger: Path) -> dict[str, Client]:
    with open_ledger(str(ledger)) as opened:
        return {client.account.name: client for client in opened.clients()}


def create(ledger: Path, *options: str | Path, name: str = "edge-1", budget: int = 2000) -> tuple[str, str]:
    """What `keys create` wrote to stdout and stderr."""
    arguments = ["keys", "create", "--ledger", ledger, f"--name={name}", "--budget", budget, *options]
    result = runner.invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


def test_a_new_key_is_alone_on_stdout_and_only_its_hash_is_kept(ledger: Path) -> None:
    out, err = create(ledger, "--policy", "top1", "--images-per-minute", "77")
    key = out.removesuffix("\n")
    assert key.startswith("mekd_") and len(key) == 48
    assert key not in err
    client = accounts(ledger)["edge-1"]
    assert client.key_hash == key_hash(key)
    assert (client.account.budget, client.account.policy, client.account.images_per_minute) == (2000, "top1", 77)
    assert client.account.expires is None
    assert key.encode() not in b"".join(path.read_bytes() for path in ledger.parent.iterdir())


def test_a_key_file_is_private_and_nothing_is_on_stdout(ledger: Path, tmp_path: Path) -> None:
    file = tmp_path / "secrets" / "key"
    out, _ = create(ledger, "--key-file", file)
    assert out == ""
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert accounts(ledger)["edge-1"].key_hash == key_hash(file.read_text().strip())
    assert [path.name for path in file.parent.iterdir()] == ["key"]


def test_if_missing_makes_a_key_once(ledger: Path, tmp_path: Path) -> None:
    file = tmp_path / "key"
    create(ledger, "--key-file", file, "--if-missing")
    first = file.read_text()
    out, err = create(ledger, "--key-file", file, "--if-missing", budget=5)
    assert (out, file.read_text()) == ("", first)
    assert "nothing was made" in err
    assert accounts(ledger)["edge-1"].account.budget == 2000


def test_a_lost_key_file_is_said_and_not_papered_over(ledger: Path, tmp_path: Path) -> None:
    create(ledger)
    with pytest.raises(InvalidConfig, match="shown only once"):
        create(ledger, "--key-file", tmp_path / "key", "--if-missing")


def test_a_key_left_by_a_crash_before_its_account_is_replaced(ledger: Path, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("mekd_of-an-account-that-was-never-opened\n")
    create(ledger, "--key-file", file, "--if-missing")
    assert accounts(ledger)["edge-1"].key_hash == key_hash(file.read_text().strip())


def test_a_taken_or_impossible_name_and_an_unknown_policy_are_refused(ledger: Path) -> None:
    create(ledger)
    with pytest.raises(InvalidConfig, match="named 'edge-1' already"):
        create(ledger)
    for name in ("", "[/red]", "a b", "-a", "a" * 65):
        with pytest.raises(InvalidConfig, match="1 to 64 letters"):
            create(ledger, name=name)
    with pytest.raises(InvalidConfig, match="no policy 'all'"):
        create(ledger, "--policy", "all", name="edge-2")


def test_keys_are_listed_by_name_and_state_and_never_shown(ledger: Path) -> None:
    keys = [
        create(ledger, name="b")[0],
        create(ledger, "--expires-days", "0", name="a")[0],
        create(ledger, name="c")[0],
    ]
    assert runner.invoke(app, ["keys", "revoke", "c", "--ledger", str(ledger)]).exit_code == 0
    table = runner.invoke(app, ["keys", "list"], env={"MEKD_SERVER_LEDGER": str(ledger), "COLUMNS": "120"}).stdout
    rows = [line.split("│")[1:-1] for line in table.splitlines() if line.startswith("│")]
    assert [(row[0].strip(), row[-1].strip()) for row in rows] == [
        ("a", "expired"),
        ("b", "active"),
        ("c", "revoked"),
    ]
    assert not any(key.strip() in table for key in keys)


def test_help_comes_without_torch() -> None:
    code = "import sys, server.cli; assert not {'torch', 'fastapi', 'sklearn'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["serve", "--teacher", "nowhere.safetensors"], 2, "There is no teacher at nowhere.safetensors"),
        (["serve", "--port", "70000"], 2, "port: Input should be less than or equal to 65535"),
        (["train", "--data", "cats", "--out", "x.safetensors"], 2, "There is no dataset 'cats'"),
        (["keys", "revoke", "nobody", "--ledger", "{tmp}/l.sqlite"], 2, "There is no ledger at"),
        (["keys", "list", "--ledger", "redis://x"], 2, "no ledger for 'redis://'"),
    ],
)
def test_what_is_wrong_is_one_line_on_stderr(
    tmp_path: Path, arguments: list[str], exit_code: int, words: str
) -> None:
    result = run_cli(*(argument.format(tmp=tmp_path) for argument in arguments))
    assert (result.returncode, result.stdout) == (exit_code, "")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_taken_port_is_said(teacher: Path, ledger: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run_cli("serve", "--teacher", teacher, "--ledger", ledger, "--port", str(port))
    assert result.returncode == 2
    assert f"Cannot listen on 127.0.0.1 port {port}" in result.stderr


def test_a_served_teacher_answers_logs_no_secrets_and_ends_on_sigterm(teacher: Path, ledger: Path) -> None:
    key = create(ledger)[0].strip()
    message = encode_request(some_images(4), "logits")
    with served_at_once("--teacher", teacher, "--ledger", ledger) as (process, url):
        assert httpx.get(url + "/readyz").status_code == 200
        headers = {**message.headers, "Authorization": f"Bearer {key}"}
        response = httpx.post(url + INFER, content=message.body, headers=headers, timeout=30)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(30)
    assert response.status_code == 200
    assert (process.returncode, out) == (0, "")
    assert accounts(ledger)["edge-1"].spent == 4
    line = err.splitlines()[-1]
    assert key not in err
    logged = json.loads(line)
    assert logged.pop("milliseconds") > 0
    assert logged.pop("time").endswith("+00:00")
    assert logged == {
        "level": "INFO",
        "message": "request",
        "request_id": response.headers["X-Request-Id"],
        "method": "POST",
        "path": INFER,
        "status": 200,
        "client": "edge-1",
        "images": 4,
        "replayed": False,
    }
