"""Runs that were stopped or ran out of budget, and go on: they end as one that nothing disturbed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.run_folder import RunFolder
from edge.training import Watcher
from shared.errors import Stopped
from shared.protocol import LOGITS
from tests.conftest import LiveServer
from tests.edge.distilling import a_client, distil
from tests.edge.small import small_config


def test_answers_of_a_raised_key_are_learnt_from_as_if_they_had_come_at_once_even_after_a_kill(
    live_server: LiveServer, undisturbed: tuple[RunFolder, dict[str, Any]], tmp_path: Path
) -> None:
    (whole, _), late, config = undisturbed, tmp_path / "late", small_config()
    key, steps = live_server.make_key(name="late", budget=100), list[str]()

    def spend(stage: str, *_: Any) -> None:
        steps.append(stage)
        if len(steps) == 1:
            with a_client(live_server.url, key) as other:
                other.ask(np.zeros((50, 1, 8, 8), np.uint8), LOGITS, "another-program")

    with pytest.raises(Stopped):
        distil(live_server, key, late, config, Watcher(should_stop=lambda: len(steps) >= 20, on_step=spend))
    assert steps[-1] == "distillation" and RunFolder(late).state["distillation"].exists()
    live_server.ledger.top_up("late", 50)

    def kill(_: int) -> None:
        if live_server.spent(key) == 150:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):  # the last answer is stored, and nothing else happens
        distil(live_server, key, late, config, Watcher(on_answer=kill))
    distil(live_server, key, late, config)
    assert RunFolder(late).student.read_bytes() == whole.student.read_bytes()
    assert live_server.spent(key) == 150


@pytest.mark.parametrize("stop_after", [0, 7, 14, 20])
def test_a_stopped_run_goes_on_and_ends_as_an_undisturbed_one(
    live_server: LiveServer, undisturbed: tuple[RunFolder, dict[str, Any]], tmp_path: Path, stop_after: int
) -> None:
    (whole, expected), stopped = undisturbed, tmp_path / "stopped"
    key, steps = live_server.make_key(budget=100), list[str]()
    watcher = Watcher(should_stop=lambda: len(steps) >= stop_after, on_step=lambda stage, *_: steps.append(stage))
    with pytest.raises(Stopped):
        distil(live_server, key, stopped, small_config(), watcher)
    results = distil(live_server, key, stopped, small_config())
    for name in ("student.safetensors", "generator.safetensors", "curves.json"):
        assert (stopped / name).read_bytes() == (whole.path / name).read_bytes()
    assert live_server.spent(key) == 100
    assert results["pool"] == expected["pool"]
    queries = [[stage["queries"], stage["queries_by_server"]] for stage in results["stages"].values()]
    assert queries == [[30, 30], [70, 70]]
