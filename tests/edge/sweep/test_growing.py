"""A grid that gets larger budgets later: what was paid for is not paid for again."""

from pathlib import Path

import numpy as np
from pydantic import SecretStr

from edge.run_folder import RunFolder
from edge.sweep.growing import go_on_from, inherited
from edge.sweep.results import Rows
from edge.sweep.sweep import check_keys, plan_sweep, served
from edge.transfer_set.journal import Journal, Request
from tests.conftest import LiveServer
from tests.edge.sweep.small_sweep import made, sweep_of


def test_a_grid_that_gets_larger_budgets_pays_for_what_is_new_alone_and_teaches_what_a_fresh_one_does(
    live_server: LiveServer, tmp_path: Path
) -> None:
    grown, fresh, larger = tmp_path / "grown", tmp_path / "fresh", sweep_of(methods=["pool"], budgets=[70, 100])
    made(sweep_of(methods=["pool"], budgets=[70]), grown, live_server, live_server.make_key())
    exact = live_server.make_key(budget=30)
    with served(larger, grown, None, server=live_server.url, key=SecretStr(exact)) as place:
        check_keys(plan_sweep(larger, grown, None), place)
    made(larger, grown, live_server, exact)
    made(larger, fresh, live_server, live_server.make_key())
    for rows, paid in ((Rows(grown).read(), [70, 30]), (Rows(fresh).read(), [0, 100])):
        assert [row["paid"] for row in rows.values()] in (paid, paid[::-1])
    row, anew = (Rows(out).read()["digits/resnet8/pool-soft-100-0"] for out in (grown, fresh))
    for field in ("queries", "queries_by_stage", "accuracy"):
        assert row[field] == anew[field]
    assert live_server.spent(exact) == 30
    asked, at_once = (np.concatenate([request.images for request in answered(out)]) for out in (grown, fresh))
    assert np.array_equal(asked, at_once), "a grid that has grown asks what a fresh one asks"


def answered(out: Path) -> list[Request]:
    with Journal(RunFolder(out / "digits/resnet8/pool-soft-100-0").journal) as journal:
        return list(journal.answered())


def test_what_goes_on_from_a_smaller_run_and_is_killed_meanwhile_is_completed(
    live_server: LiveServer, tmp_path: Path
) -> None:
    key = live_server.make_key()
    made(sweep_of(methods=["kd"], budgets=[80]), tmp_path, live_server, key)
    smaller, folder = RunFolder(tmp_path / "digits/resnet8/kd-soft-80-0"), RunFolder(tmp_path / "larger")
    with Journal(smaller.journal) as theirs, Journal(folder.journal) as ours:
        requests = list(theirs.answered())
        first, traffic = requests[0], theirs.traffic(requests[0].stage)
        ours.add(first.stage, first.step, first.output, first.images, first.sent)
    go_on_from(smaller, folder)
    go_on_from(smaller, folder)
    with Journal(folder.journal) as ours:
        assert ours.queries() == 80 and ours.traffic(first.stage) == traffic
        for ours_now, theirs_then in zip(ours.answered(), requests, strict=True):
            assert np.array_equal(np.asarray(ours_now.answers), np.asarray(theirs_then.answers))
    assert inherited(folder) == 80
