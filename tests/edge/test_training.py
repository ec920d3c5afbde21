from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from edge.training import Training, Watcher
from shared.errors import InvalidCheckpoint, RunMismatch, Stopped


class Sum:
    """State that every step changes, in a way that shows which steps were done and in which order."""

    def __init__(self) -> None:
        self.total = torch.zeros(())

    def step(self, done: int) -> dict[str, float]:
        self.total = self.total * 2 + done
        return {"total": self.total.item()} | ({"even": 0.5} if done % 2 == 0 else {})

    def state_dict(self) -> dict[str, Any]:
        return {"total": self.total}

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        self.total = state_dict["total"]


class StopAfter:
    """Says stop once `steps` steps were seen."""

    def __init__(self, steps: int) -> None:
        self.steps, self.seen = steps, list[tuple[str, int, int]]()

    def watcher(self) -> Watcher:
        return Watcher(should_stop=lambda: len(self.seen) >= self.steps, on_step=self._on_step)

    def _on_step(self, stage: str, done: int, total: int, values: Mapping[str, float]) -> None:
        self.seen.append((stage, done, total))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "stage.state"


def stopped(path: Path, steps: int) -> None:
    part = Sum()
    with pytest.raises(Stopped):
        Training("stage", {"sum": part}, path, StopAfter(steps).watcher()).run(9, part.step)


@pytest.mark.parametrize("stops", [[0], [1], [4, 2], [1] * 8])
def test_any_number_of_stops_changes_nothing(path: Path, stops: list[int]) -> None:
    whole = Sum()
    curves = Training("stage", {"sum": whole}, None).run(9, whole.step)
    for steps in stops:
        stopped(path, steps)
    part = Sum()
    resumed = Training("stage", {"sum": part}, path).run(9, part.step)
    assert torch.equal(part.total, whole.total)
    assert resumed == curves and [step for step, _ in curves["total"]] == list(range(1, 10))
    assert curves["even"] == [(step, 0.5) for step in (1, 3, 5, 7, 9)]


def test_a_stop_says_where_and_how_to_go_on(path: Path) -> None:
    part = Sum()
    with pytest.raises(Stopped, match=r"Stopped in stage at step 4 of 9\. The same command goes on"):
        Training("stage", {"sum": part}, path, StopAfter(4).watcher()).run(9, part.step)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_the_watcher_is_told_of_every_step_once_over_all_starts(path: Path) -> None:
    first, second = StopAfter(3), StopAfter(100)
    part = Sum()
    with pytest.raises(Stopped):
        Training("stage", {"sum": part}, path, first.watcher()).run(9, part.step)
    part = Sum()
    Training("stage", {"sum": part}, path, second.watcher()).run(9, part.step)
    assert first.seen + second.seen == [("stage", done, 9) for done in range(1, 10)]


def test_without_a_path_nothing_is_kept(tmp_path: Path) -> None:
    part = Sum()
    with pytest.raises(Stopped):
        Training("stage", {"sum": part}, None, StopAfter(2).watcher()).run(9, part.step)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["empty", "cut off", "text", "no curves", "a list"])
def test_a_state_that_cannot_be_read_is_said_with_a_way_out(path: Path, damage: str) -> None:
    stopped(path, 3)
    whole = path.read_bytes()
    sound = torch.load(path, weights_only=True)
    match damage:
        case "empty":
            path.write_bytes(b"")
        case "cut off":
            path.write_bytes(whole[: len(whole) // 2])
        case "text":
            path.write_text("no state")
        case "no curves":
            torch.save({name: value for name, value in sound.items() if name != "record"}, path)
        case "a list":
            torch.save([1, 2], path)
    part = Sum()
    with pytest.raises(InvalidCheckpoint, match=r"stage\.state is not a readable state of stage .*Delete it"):
        Training("stage", {"sum": part}, path).run(9, part.step)


def test_the_state_of_another_stage_is_refused(path: Path) -> None:
    stopped(path, 3)
    part = Sum()
    with pytest.raises(RunMismatch, match=r"an unfinished training: stage\. Asked for is: elsewhere"):
        Training("elsewhere", {"sum": part}, path).run(9, part.step)


def test_a_state_that_would_run_code_is_refused(path: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    path.parent.mkdir()
    torch.save({"stage": "stage", "done": 1, "curves": {}, "parts": {"sum": Trap()}}, path)
    part = Sum()
    with pytest.raises(InvalidCheckpoint):
        Training("stage", {"sum": part}, path).run(9, part.step)
    assert not (tmp_path / "sprung").exists()
