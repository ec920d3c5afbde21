"""Files that are there as a whole or not at all, whatever kills their writer."""

import json
import os
import re
from pathlib import Path
from typing import Any


def write_atomically(path: Path, content: bytes) -> None:
    """Write aside, flush to disk, move into place; what killed writers of `path` left aside is swept away."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Remove `path`, where it is there, and what killed writers of it left aside."""
    path.unlink(missing_ok=True)
    _sweep(path)


def left_aside(path: Path) -> list[Path]:
    """Halves of `path` beside it, in a folder that exists, whose writers were killed before they moved them."""
    aside = re.compile(rf"\.{re.escape(path.name)}\.([1-9][0-9]{{0,6}})")
    found = [(file, aside.fullmatch(file.name)) for file in path.parent.iterdir()]
    return [file for file, match in found if match and not _runs(int(match[1]))]


def _sweep(path: Path) -> None:
    for left in left_aside(path):
        left.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        pass
    return True


def write_json(path: Path, document: Any) -> None:
    """Write a JSON document in one step, readable by people."""
    write_atomically(path, (json.dumps(document, indent=2, allow_nan=False) + "\n").encode())
