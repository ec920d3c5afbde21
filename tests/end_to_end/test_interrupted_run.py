"""A run that is stopped and killed ends as the undisturbed one, and pays each image once."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from edge.asking.client import TeacherClient
from edge.local_cloud import LocalCloud
from edge.transfer_set.journal import Journal
from shared import architectures, checkpoints
from shared.errors import Stopped
from shared.seeding import seed_initial_weights
from tests.end_to_end.edge_process import EdgeProcess, answers

BUDGET = 100
CONFIG = """
budget = 100
request = 5
[deprivatization]
steps = 90
batch = 16
width = 16
im_weight = 0.5
im_share = 0.3
[distillation]
image_weight = 0.01
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


def test_stopped_and_killed_it_goes_on_and_ends_as_an_undisturbed_run(
    cloud: LocalCloud, config: Path, tmp_path: Path
) -> None:
    def start(key: SecretStr, out: Path) -> EdgeProcess:
        flags = ("--server", cloud.url, "--config", config, "--out", out)
        return EdgeProcess("distill", *flags, key=key.get_secret_value(), said=out.with_suffix(".log"))

    whole, disturbed = tmp_path / "whole", tmp_path / "disturbed"
    assert start(cloud.create_key("whole", BUDGET), whole).exit_code() == 0
    key = cloud.create_key("disturbed", BUDGET)

    edge = start(key, disturbed)
    edge.wait_until(lambda: "deprivatization: 90 of 90 steps to do\n" in edge.said())
    edge.signal(signal.SIGINT)
    assert edge.exit_code() == Stopped.exit_code == 130
    _, error = edge.said().splitlines()
    assert error.startswith("Error: Stopped in deprivatization at step ")
    assert "The same command goes on from there." in error
    assert answers(disturbed) == 0 and not (disturbed / "generator.safetensors").exists()

    edge = start(key, disturbed)
    edge.wait_until(lambda: answers(disturbed) > 0)
    assert edge.kill()
    assert "of 90 steps to do" in edge.said() and "90 of 90" not in edge.said(), "it has to go on, not begin anew"
    assert 0 < answers(disturbed) <= 6 and not (disturbed / "generator.safetensors").exists()

    edge = start(key, disturbed)
    assert edge.exit_code() == 0, edge.said()

    for name in ("generator.safetensors", "student.safetensors", "curves.json"):
        assert (disturbed / name).read_bytes() == (whole / name).read_bytes()
    with Journal(disturbed / "transfer_set.sqlite") as journal, TeacherClient(cloud.url, key) as client:
        usage = client.usage()
        assert usage is not None and usage.spent == journal.unique_images() == journal.queries() == BUDGET
