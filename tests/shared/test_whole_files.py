import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared import whole_files


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    whole_files.write_atomically(path, b"old")
    with pytest.raises(TypeError):
        whole_files.write_atomically(path, "no bytes")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="JSON"):
        whole_files.write_json(path, {"loss": float("nan")})
    assert path.read_bytes() == b"old" and [file.name for file in tmp_path.iterdir()] == ["file"]


def test_what_killed_writers_left_aside_is_never_read_and_goes_with_the_next_write(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    dead, alive = tmp_path / f".file.{ended.pid}", tmp_path / f".file.{os.getppid()}"
    others = [tmp_path / name for name in (f".file.json.{ended.pid}", ".file.backup", f"file.{ended.pid}")]
    for aside in (dead, alive, *others):
        aside.write_bytes(b"half")
    assert whole_files.left_aside(path) == [dead]
    whole_files.write_atomically(path, b"whole")
    assert path.read_bytes() == b"whole"
    assert {*tmp_path.iterdir()} == {path, alive, *others}
    dead.write_bytes(b"half")
    whole_files.remove(path)
    whole_files.remove(path)
    assert {*tmp_path.iterdir()} == {alive, *others}


def test_json_is_written_for_people_into_folders_made_on_the_way(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.json"
    whole_files.write_json(path, {"a": [1, 2.5, None]})
    assert json.loads(path.read_text()) == {"a": [1, 2.5, None]}
    assert path.read_text().startswith('{\n  "a"') and path.read_text().endswith("\n")
    assert [file.name for file in path.parent.iterdir()] == ["file.json"]
