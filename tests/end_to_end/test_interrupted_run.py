"""A run that is stopped and killed ends as the undisturbed one, and pays each image once."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from edge.asking.client import TeacherClient
from edge.experiments.local_cloud import LocalCloud
from edge.transfer_set.journal import Journal
from shared import architectures, checkpoints
from shared.errors import Stopped
from shared.seeding import seed_initial_weights
from tests.end_to_end.edge_process import answers

BUDGET = 100
CONFIG = """
budget = 100
request = 5
[deprivatization]
steps = 90
batch = 16
width = 16
im_share = 0.3
[distillation]
steps = 20
batch = 16
"""
"""Step 1 asks about 15 images at step 45 and again at step 67; between the two there is time to kill it."""


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[LocalCloud]:
    """A server with an untrained teacher."""
    seed_initial_weights(0, "teacher of a test")
    card = checkpoints.Card(
        role="teacher", architecture="resnet8", dataset="digits", image_shape=(1, 8, 8), classes=10, seed=0
    )
    path = tmp_path / "cloud" / "teacher.safetensors"
    checkpoints.save(path, architectures.build("resnet8", channels=1, classes=10), card)
    with LocalCloud(path, tmp_path / "cloud" / "ledger.sqlite", threads=1) as cloud:
        yield cloud


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(CONFIG)
    return path


def start(cloud: LocalCloud, key: SecretStr, config: Path, out: Path) -> subprocess.Popen[str]:
    flags = ["--server", cloud.url, "--config", str(config), "--out", str(out)]
    command = [sys.executable, "-m", "edge", "distill", *flags]
    env = os.environ | {"MEKD_API_KEY": key.get_secret_value()}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


def wait_until(process: subprocess.Popen[str], happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert process.poll() is None and time.monotonic() < deadline, "ended before it could be disturbed"
        time.sleep(0.002)


def test_stopped_and_killed_it_goes_on_and_ends_as_an_undisturbed_run(
    cloud: LocalCloud, config: Path, tmp_path: Path
) -> None:
    whole, disturbed = tmp_path / "whole", tmp_path / "disturbed"
    process = start(cloud, cloud.create_key("whole", BUDGET), config, whole)
    assert process.communicate(timeout=120)[1] and process.returncode == 0
    key = cloud.create_key("disturbed", BUDGET)

    process = start(cloud, key, config, disturbed)
    assert process.stderr is not None
    assert process.stderr.readline() == "deprivatization: 90 of 90 steps to do\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == Stopped.exit_code == 130
    assert said.startswith("Error: Stopped in deprivatization at step ") and said.count("\n") == 1
    assert "The same command goes on from there." in said
    assert answers(disturbed) == 0 and not (disturbed / "generator.safetensors").exists()

    process = start(cloud, key, config, disturbed)
    wait_until(process, lambda: answers(disturbed) > 0)
    process.kill()
    _, said = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert "of 90 steps to do" in said and "90 of 90" not in said, "the second start has to go on, not begin anew"
    assert 0 < answers(disturbed) <= 6 and not (disturbed / "generator.safetensors").exists()

    process = start(cloud, key, config, disturbed)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said

    for name in ("generator.safetensors", "student.safetensors", "curves.json"):
        assert (disturbed / name).read_bytes() == (whole / name).read_bytes()
    with Journal(disturbed / "transfer_set.sqlite") as journal, TeacherClient(cloud.url, key) as client:
        usage = client.usage()
        assert usage is not None and usage.spent == journal.unique_images() == journal.queries() == BUDGET
