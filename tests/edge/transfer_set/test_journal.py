import sqlite3
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edge.asking.wire_bytes import Traffic
from edge.transfer_set.journal import Journal, Payment, Request
from shared.errors import InvalidCheckpoint, RunMismatch
from shared.protocol import LABEL, LOGITS

IMAGES = np.arange(4 * 1 * 2 * 2, dtype=np.uint8).reshape(4, 1, 2, 2)
LOGITS_OF_IMAGES = np.arange(4 * 3, dtype=np.float32).reshape(4, 3)
ALL = np.ones(4, np.bool_)


def add(journal: Journal, stage: str = "deprivatization", step: int = 0) -> Request:
    return journal.add(stage, step, LOGITS, IMAGES, ALL)


def test_a_request_outlives_its_process_before_and_after_the_answer(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        written = add(journal)
    with Journal(tmp_path / "journal.sqlite") as journal:
        found = journal.find("deprivatization", 0)
        assert found is not None and found.answers is None
        assert found.key == written.key and (found.images == IMAGES).all() and found.sent.all()
        journal.answer(found, LOGITS_OF_IMAGES, Traffic())
    with Journal(tmp_path / "journal.sqlite") as journal:
        found = journal.find("deprivatization", 0)
        assert found is not None and found.answers is not None and (found.answers == LOGITS_OF_IMAGES).all()
        assert journal.find("deprivatization", 1) is None


def test_keys_come_from_the_run_and_the_place_and_differ_between_runs(tmp_path: Path) -> None:
    with Journal(tmp_path / "a.sqlite") as journal, Journal(tmp_path / "b.sqlite") as other:
        assert add(journal).key == str(uuid.uuid5(journal.run_id, "deprivatization/0"))
        assert add(other).key != add(journal, step=1).key
        run_id = journal.run_id
    with Journal(tmp_path / "a.sqlite") as journal:
        assert journal.run_id == run_id


def test_payments_tell_what_was_answered_when_and_what_it_cost(tmp_path: Path) -> None:
    seconds = iter(range(100, 200))
    with Journal(tmp_path / "journal.sqlite", clock=lambda: next(seconds)) as journal:
        journal.answer(add(journal), LOGITS_OF_IMAGES, Traffic())
        known = journal.add("distillation", 0, LOGITS, IMAGES, np.array([True, False, False, True]))
        journal.answer(known, LOGITS_OF_IMAGES, Traffic())
        add(journal, "distillation", 1)
        assert journal.payments() == [Payment("deprivatization", 4, 100, 101), Payment("distillation", 2, 102, 103)]


def test_the_transfer_set_is_what_was_answered_in_the_order_of_asking(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        journal.answer(add(journal, "z", 0), LOGITS_OF_IMAGES, Traffic(100, 10))
        journal.answer(add(journal, "a", 0), LOGITS_OF_IMAGES + 1, Traffic(200, 20))
        add(journal, "a", 1)
        everything, stage = journal.transfer_set(), journal.transfer_set("a")
        assert (everything.answers == np.concatenate([LOGITS_OF_IMAGES, LOGITS_OF_IMAGES + 1])).all()
        assert len(stage) == 4 and stage.output == LOGITS and (stage.images == IMAGES).all()
        assert journal.unique_images() == 4
        assert (journal.queries("a"), journal.queries()) == (4, 8)
        assert (journal.traffic("a"), journal.traffic()) == (Traffic(200, 20), Traffic(300, 30))


def test_a_transfer_set_of_nothing_or_of_different_things_is_refused(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        with pytest.raises(RunMismatch, match="no answers of stage 'rival'"):
            journal.transfer_set("rival")
        journal.answer(add(journal), LOGITS_OF_IMAGES, Traffic())
        labels = journal.add("rival", 0, LABEL, IMAGES, ALL)
        journal.answer(labels, np.zeros(4, np.int64), Traffic())
        with pytest.raises(RunMismatch, match="Choose one stage"):
            journal.transfer_set()


def test_a_shrunk_request_keeps_its_key_and_its_first_images_and_counts_the_bytes(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        request = add(journal)
        assert journal.shrink(request, 3, Traffic(50, 5)) is not None
        shrunk = journal.find(request.stage, 0)
        assert shrunk is not None and shrunk.key == request.key
        assert (shrunk.images == IMAGES[:3]).all() and len(shrunk.sent) == 3
        assert journal.shrink(shrunk, 0, Traffic(50, 5)) is None
        assert journal.find(request.stage, 0) is None
        assert journal.traffic() == Traffic(100, 10)


def test_notes_are_kept_by_name(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        journal.note("spent", 1)
        journal.note("spent", {"deprivatization": 500})
    with Journal(tmp_path / "journal.sqlite") as journal:
        assert journal.notes() == {"spent": {"deprivatization": 500}}


def test_two_processes_cannot_have_one_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    hold = (
        f"from pathlib import Path; from edge.transfer_set.journal import Journal; j = Journal(Path({str(path)!r}));"
    )
    hold += "print('open', flush=True); input(); j.close()"
    with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin and other.stdout and other.stdout.readline() == b"open\n"
        with pytest.raises(RunMismatch, match=f"Process {other.pid} has .*journal.sqlite open"):
            Journal(path)
        other.communicate(b"\n")
    Journal(path).close()


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\0" + b"\xff" * 4080])
def test_a_file_of_another_kind_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_bytes(content)
    with pytest.raises(InvalidCheckpoint, match="cannot be used as a journal"):
        Journal(path)
    assert path.read_bytes() == content


def test_another_database_and_another_version_are_refused(tmp_path: Path) -> None:
    with Journal(tmp_path / "old.sqlite"):
        pass
    for name, change in (("old", "PRAGMA user_version = 99"), ("other", "CREATE TABLE t (x)")):
        database = sqlite3.connect(tmp_path / f"{name}.sqlite")
        database.execute(change)
        database.close()
    with pytest.raises(InvalidCheckpoint, match="version 99"):
        Journal(tmp_path / "old.sqlite")
    with pytest.raises(InvalidCheckpoint, match="not a MEKD journal"):
        Journal(tmp_path / "other.sqlite")


VERSION_1 = """
CREATE TABLE run (id TEXT NOT NULL);
CREATE TABLE notes (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE traffic (stage TEXT PRIMARY KEY, bytes_up INTEGER NOT NULL, bytes_down INTEGER NOT NULL);
CREATE TABLE requests (
    stage TEXT NOT NULL, step INTEGER NOT NULL, key TEXT NOT NULL UNIQUE, output TEXT NOT NULL,
    shape TEXT NOT NULL, images BLOB NOT NULL, sent BLOB NOT NULL, answer BLOB,
    asked REAL NOT NULL, answered REAL, PRIMARY KEY (stage, step)
);
PRAGMA application_id = 1296386884;
PRAGMA user_version = 1;
PRAGMA journal_mode = WAL;
INSERT INTO run VALUES ('00000000-0000-4000-8000-000000000001');
INSERT INTO notes VALUES ('deprivatization.seconds', '1.5');
INSERT INTO traffic VALUES ('deprivatization', 100, 10), ('bookkeeping', 7, 3);
"""


def version_1(path: Path, changes: str = "") -> Path:
    """A journal as the first version left it: one request answered, the next one not."""
    database = sqlite3.connect(path)
    database.executescript(VERSION_1 + changes)
    for step, answer in enumerate((LOGITS_OF_IMAGES.tobytes(), None)):
        row = ("deprivatization", step, f"key {step}", LOGITS, "[4, 1, 2, 2]", IMAGES.tobytes(), ALL.tobytes())
        database.execute("INSERT INTO requests VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1.0, 2.0)", (*row, answer))
    database.commit()
    database.close()
    return path


def test_a_journal_of_version_1_goes_on_with_all_that_was_paid_for(tmp_path: Path) -> None:
    path = version_1(tmp_path / "journal.sqlite")
    with Journal(path) as journal:
        assert journal.run_id == uuid.UUID(int=1, version=4)
        assert (journal.transfer_set().answers == LOGITS_OF_IMAGES).all()
        assert journal.notes() == {"deprivatization.seconds": 1.5}
        assert (journal.traffic("deprivatization"), journal.traffic()) == (Traffic(100, 10), Traffic(107, 13))
        waiting = journal.find("deprivatization", 1)
        assert waiting is not None and waiting.key == "key 1" and waiting.answers is None
        journal.answer(waiting, LOGITS_OF_IMAGES, Traffic(20, 2, link_seconds=0.5))
    with Journal(path) as journal:
        assert (journal.queries(), journal.asked()) == (8, 8)
        assert journal.traffic("deprivatization") == Traffic(120, 12, link_seconds=0.5)


def test_a_migration_that_fails_leaves_the_file_of_version_1_as_it_was(tmp_path: Path) -> None:
    """The column is there already, which no journal of version 1 can be."""
    path = version_1(tmp_path / "journal.sqlite", "ALTER TABLE traffic ADD COLUMN link_seconds REAL;")
    for _ in range(2):
        with pytest.raises(InvalidCheckpoint, match="duplicate column"):
            Journal(path)
    database = sqlite3.connect(path)
    assert database.execute("PRAGMA user_version").fetchone() == (1,)
    assert database.execute("SELECT count(*) FROM requests").fetchone() == (2,)
    database.close()


def test_seconds_on_the_link_add_up_by_stage(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        journal.add_traffic("a", Traffic(1, 2, link_seconds=0.5))
        journal.add_traffic("b", Traffic(1, 2, link_seconds=0.25))
        journal.add_traffic("a", Traffic(1, 2, link_seconds=1.0))
    with Journal(tmp_path / "journal.sqlite") as journal:
        assert journal.traffic("a") == Traffic(2, 4, link_seconds=1.5)
        assert journal.traffic() == Traffic(3, 6, link_seconds=1.75)
        assert journal.traffic("c") == Traffic()


def test_a_corrupt_page_is_reported_and_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        journal.answer(add(journal), LOGITS_OF_IMAGES, Traffic())
    damaged = bytearray(path.read_bytes())
    damaged[4096:] = b"\xa5" * (len(damaged) - 4096)
    path.write_bytes(damaged)
    with pytest.raises(InvalidCheckpoint, match="cannot be used as a journal"), Journal(path) as journal:
        journal.transfer_set()


shapes = st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))
batches = st.lists(shapes.flatmap(lambda shape: arrays(np.uint8, shape)), min_size=1, max_size=4)


@given(batches=batches, output=st.sampled_from([LOGITS, LABEL]), data=st.data())
@settings(max_examples=40, deadline=None)
def test_whatever_is_written_is_read_back_unchanged(
    batches: list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]], output: str, data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.sqlite"
        written = []
        with Journal(path) as journal:
            for step, images in enumerate(batches):
                sent = data.draw(arrays(np.bool_, len(images)))
                floats = arrays(np.float32, (len(images), 3), elements=st.floats(width=32, allow_nan=False))
                labels = arrays(np.int64, len(images))
                answers = data.draw(labels if output == LABEL else floats)
                request = journal.add("stage", step, output, images, sent)
                written.append(journal.answer(request, answers, Traffic(step, 1)))
        with Journal(path) as journal:
            for kept, read in zip(written, journal.answered("stage"), strict=True):
                assert (kept.stage, kept.step, kept.key, kept.output) == (
                    read.stage,
                    read.step,
                    read.key,
                    read.output,
                )
                for name in ("images", "sent", "answers"):
                    np.testing.assert_array_equal(getattr(kept, name), getattr(read, name), strict=True)
            assert journal.traffic().down == len(batches)
            assert journal.queries() == sum(int(request.sent.sum()) for request in written)
