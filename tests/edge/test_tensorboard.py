import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tensorboardX.proto.event_pb2 import Event

from edge.run_folder import RunFolder
from edge.tensorboard import EventFiles
from edge.training import Curves, Watcher
from shared.errors import Stopped
from tests.conftest import LiveServer
from tests.edge.distilling import distil
from tests.edge.small import small_config


def events(folder: Path) -> Iterator[Any]:
    """Every event of the folder's files in the order that TensorBoard reads them: that of their names."""
    for file in sorted(folder.glob("events.out.tfevents.*")):
        content, start = file.read_bytes(), 0
        while start < len(content):  # TFRecord: length, its checksum, the record, its checksum
            (length,) = struct.unpack_from("<Q", content, start)
            yield Event.FromString(content[start + 12 : start + 12 + length])
            start += 16 + length


def scalars(folder: Path) -> Curves:
    """Curves as they stand in the files, nothing dropped, nothing sorted."""
    found: Curves = {}
    for event in events(folder):
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def single_precision(curves: Curves) -> Curves:
    """Curves as an event file can hold them."""
    return {
        name: [(step, struct.unpack("f", struct.pack("f", value))[0]) for step, value in points]
        for name, points in curves.items()
    }


@pytest.fixture
def whole(undisturbed: tuple[RunFolder, dict[str, Any]]) -> RunFolder:
    """Of a run that nothing disturbed."""
    return undisturbed[0]


def test_a_run_leaves_every_curve_of_both_stages_and_the_queries_over_time(whole: RunFolder) -> None:
    assert set(whole.curves()) == {"deprivatization", "distillation"}
    for stage, curves in whole.curves().items():
        assert scalars(whole.tensorboard / stage) == single_precision(curves)
    paid = scalars(whole.tensorboard / "queries")["queries paid"]
    assert [step for step, _ in paid] == [value for _, value in paid] == sorted({step for step, _ in paid})
    assert paid[-1] == (100, 100)


@pytest.mark.parametrize("stop_after", [5, 17])
def test_a_run_that_went_on_after_a_stop_shows_every_step_once_and_in_order(
    live_server: LiveServer, whole: RunFolder, tmp_path: Path, stop_after: int
) -> None:
    stopped = RunFolder(tmp_path / "stopped")
    key, steps = live_server.make_key(), list[str]()
    watcher = Watcher(should_stop=lambda: len(steps) >= stop_after, on_step=lambda stage, *_: steps.append(stage))
    with pytest.raises(Stopped):
        distil(live_server, key, stopped.path, small_config(), watcher)
    distil(live_server, key, stopped.path, small_config())
    for part in ("deprivatization", "distillation", "queries"):
        assert scalars(stopped.tensorboard / part) == scalars(whole.tensorboard / part) != {}


def test_steps_that_were_taken_but_not_kept_are_not_shown_twice(tmp_path: Path) -> None:
    with EventFiles(tmp_path) as before:
        before.watcher().on_start("distillation", {})
        for step in range(1, 8):
            before.watcher().on_step("distillation", step, 9, {"loss": 10.0 - step})
    for file in (tmp_path / "distillation").iterdir():  # written in an earlier second, so that its name differs
        file.rename(file.with_name("events.out.tfevents.1000000000.somewhere"))
    with EventFiles(tmp_path) as after:  # the state that was saved last is that of step 5
        after.watcher().on_start("distillation", {"loss": [(step, 10.0 - step) for step in range(1, 6)]})
        for step in range(6, 10):
            after.watcher().on_step("distillation", step, 9, {"loss": 10.0 - step})
    assert scalars(tmp_path / "distillation") == {"loss": [(step, 10.0 - step) for step in range(1, 10)]}


def test_a_tensorboard_that_looks_on_is_told_to_forget_the_earlier_file(tmp_path: Path) -> None:
    for _ in range(2):
        with EventFiles(tmp_path) as files:
            files.watcher().on_start("distillation", {})
        version, start = events(tmp_path / "distillation")
        assert version.file_version == "brain.Event:2"  # what makes TensorBoard look for the next
        assert start.session_log.status == start.session_log.START and start.step == 0


def test_queries_of_earlier_starts_stay_and_later_ones_go_on(tmp_path: Path) -> None:
    for paid in (0, 30):
        with EventFiles(tmp_path) as files:
            watcher = files.watcher()
            watcher.on_key(None, paid)
            watcher.on_answer(20)
            watcher.on_answer(10)
    steps = [20, 30, 50, 60]
    assert scalars(tmp_path / "queries") == {"queries paid": [(step, float(step)) for step in steps]}
