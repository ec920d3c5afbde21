import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import pytest

from edge.asking.client import TeacherClient
from edge.asking.oracle import Oracle
from edge.local_cloud import LocalCloud
from edge.transfer_set.journal import Journal
from shared import architectures, checkpoints
from shared.errors import InvalidConfig, Unreachable
from shared.protocol import LOGITS
from tests.eventually import eventually

SHAPE, CLASSES = (1, 8, 8), 10
KILLED_AFTER = (0.0, 0.003, 0.01)  # seconds into a question: before, during and after the server's commit
IMAGES, BATCH = 1200, 8


@pytest.fixture
def cloud_files(tmp_path: Path) -> tuple[Path, Path]:
    """Paths of an untrained teacher and of a ledger that is not there yet."""
    path = tmp_path / "teacher.safetensors"
    card = checkpoints.Card(
        role="teacher", architecture="resnet8", dataset="digits", image_shape=SHAPE, classes=CLASSES, seed=0
    )
    checkpoints.save(path, architectures.build("resnet8", channels=1, classes=CLASSES), card)
    return path, tmp_path / "ledger.sqlite"


def test_a_server_killed_again_and_again_answers_everything_and_charges_each_image_once(
    cloud_files: tuple[Path, Path], tmp_path: Path
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, *SHAPE), np.uint8)
    settled = killed_at = 0
    asking = threading.Event()

    def count(answered: int) -> None:
        nonlocal settled
        settled += answered
        asking.set()

    def kill_and_restart(cloud: LocalCloud) -> None:
        nonlocal killed_at
        for seconds in KILLED_AFTER:
            assert asking.wait(30)
            time.sleep(seconds)
            cloud.kill()
            killed_at = settled
            asking.clear()
            cloud.restart()

    with LocalCloud(*cloud_files, threads=1) as cloud, Journal(tmp_path / "journal.sqlite") as journal:
        key = cloud.create_key("edge", IMAGES + 1)
        with TeacherClient(cloud.url, key) as client:
            killer = threading.Thread(target=kill_and_restart, args=(cloud,))
            killer.start()
            pairs = Oracle(client, journal, LOGITS, batch=BATCH, on_answer=count).ask("stage", images)
            killer.join()
            usage = client.usage()
        assert 0 < killed_at < IMAGES, "every kill has to fall into the asking"
        assert len(pairs) == IMAGES and (pairs.images == images).all()
        assert usage is not None and usage.spent == journal.unique_images() == journal.queries() == IMAGES


def test_a_stopped_server_comes_back_on_its_port_with_its_ledger(cloud_files: tuple[Path, Path]) -> None:
    with LocalCloud(*cloud_files, threads=1) as cloud:
        key, url = cloud.create_key("edge", 10, "top1"), cloud.url
        cloud.restart()
        assert cloud.create_key("edge", 10, "top1") == key, "an experiment that goes on finds its key again"
        with pytest.raises(InvalidConfig, match="policy"):
            cloud.create_key("other", 10, "everything")
        assert cloud.url == url
        with TeacherClient(url, key) as client:
            usage = client.usage()
            assert usage is not None and (usage.budget, usage.policy) == (10, "top1")
    with TeacherClient(url, key, patience=0.5) as client, pytest.raises(Unreachable):
        client.usage()


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz").is_success
    except httpx.TransportError:
        return False


def test_a_server_that_a_program_started_ends_when_the_program_is_killed(cloud_files: tuple[Path, Path]) -> None:
    program = (
        "import sys, time; from pathlib import Path; from edge.local_cloud import LocalCloud\n"
        "with LocalCloud(*map(Path, sys.argv[1:]), threads=1) as cloud: print(cloud.url, flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", program, *map(str, cloud_files)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert answers(url)
    finally:
        process.kill()
        process.communicate()
    eventually(lambda: not answers(url))


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(Unreachable, match="teacher"), LocalCloud(tmp_path / "missing", tmp_path / "ledger.sqlite"):
        pass
    assert time.monotonic() - started < 30
