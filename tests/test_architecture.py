"""What the layout promises, read from the syntax trees: nothing of the product is imported here."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
SIDES = ("shared", "server", "edge")
MOST_LINES = 320
EXECUTE_WHAT_THEY_READ = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal"}
IMPORT_NAMES = {  # where they differ from the distribution's, or come with it and are part of what it promises
    "pillow": {"PIL"},
    "scikit-learn": {"sklearn", "joblib"},
    "fastapi": {"fastapi", "starlette"},
    "httpx": {"httpx", "httpcore"},
    "jinja2": {"jinja2", "markupsafe"},
    "tensorboardx": {"tensorboardX"},
}
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS: dict[str, list[str]] = PYPROJECT["project"]["optional-dependencies"]


def modules(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def place(path: Path, node: ast.AST | None = None) -> str:
    """`file:line`, as an editor opens it."""
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"


@cache
def nodes(*folders: str) -> list[tuple[Path, ast.AST]]:
    if len(folders) > 1:
        return [found for folder in folders for found in nodes(folder)]
    return [(path, node) for path in modules(*folders) for node in ast.walk(ast.parse(path.read_text(), str(path)))]


def imported_names(node: ast.AST) -> list[str]:
    """What a node imports, be it by a statement or by import_module("...")."""
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=module, names=names, level=level):
            return [f"{'.' * level}{module or ''}.{alias.name}" for alias in names]
        case ast.Call(
            func=ast.Name(id=called) | ast.Attribute(attr=called), args=[ast.Constant(value=str(name)), *_]
        ):
            return [name] if called in {"import_module", "__import__"} else []
    return []


def imports(*folders: str) -> Iterator[tuple[Path, ast.AST, str]]:
    """File, node and full name of everything imported in `folders`."""
    for path, node in nodes(*folders):
        for name in imported_names(node):
            yield path, node, name


def test_no_dataset_makes_others_wait_for_scikit_learn_or_scipy() -> None:
    at_the_top = {
        place(path, node)
        for path in modules("shared/datasets")
        for node in ast.parse(path.read_text()).body
        for name in imported_names(node)
        if name.split(".")[0] in {"sklearn", "scipy"}
    }
    assert not at_the_top, "import it in the function that needs it"


def distribution(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match
    return match[0].lower()


def distributions(*extras: str) -> set[str]:
    """What an installation with `extras` asks pip for."""
    requirements = [*PYPROJECT["project"]["dependencies"], *(line for extra in extras for line in EXTRAS[extra])]
    return {distribution(line) for line in requirements}


@pytest.mark.parametrize(
    ("side", "forbidden"),
    [("shared", {"server", "edge", "tests"}), ("server", {"edge", "tests"}), ("edge", {"server", "tests"})],
)
def test_imports_go_from_the_sides_to_shared_and_never_back_or_across(side: str, forbidden: set[str]) -> None:
    wrong = [place(path, node) for path, node, name in imports(side) if name.split(".")[0] in forbidden]
    assert wrong == []


def test_imports_are_absolute_so_that_the_direction_can_be_read_off() -> None:
    assert [place(path, node) for path, node, name in imports(*SIDES, "tests") if name.startswith(".")] == []


@pytest.mark.parametrize(
    ("side", "extras"),
    [("shared", []), ("server", ["server", "postgres"]), ("edge", ["edge", "sweep", "ray"])],
)
def test_each_side_imports_only_what_its_own_installation_brings(side: str, extras: list[str]) -> None:
    brought = set().union(*(IMPORT_NAMES.get(name, {name.replace("-", "_")}) for name in distributions(*extras)))
    wrong = {
        f"{place(path, node)} {name}"
        for path, node, name in imports(side)
        if name.split(".")[0] not in brought | set(SIDES) | sys.stdlib_module_names
    }
    assert wrong == set()


def test_torchvision_is_imported_in_one_place() -> None:
    found = {path.relative_to(ROOT).as_posix() for path, _, name in imports(*SIDES) if name.startswith("torchvision")}
    assert found == {"shared/vision.py"}


def test_nothing_that_is_read_can_execute() -> None:
    wrong = [
        place(path, node) for path, node, name in imports(*SIDES) if name.split(".")[0] in EXECUTE_WHAT_THEY_READ
    ]
    for path, node in nodes(*SIDES):
        if not isinstance(node, ast.Call):
            continue
        flags = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if ast.unparse(node.func) == "torch.load" and flags.get("weights_only") != "True":
            wrong.append(place(path, node))
        if flags.get("allow_pickle", "False") != "False":
            wrong.append(place(path, node))
    assert wrong == []


def test_tests_replace_nothing_behind_the_code_s_back() -> None:
    wrong = [place(path, node) for path, node, name in imports("tests") if "mock" in name.split(".")]
    wrong += [
        place(path, node)
        for path, node in nodes("tests")
        if isinstance(node, ast.Attribute) and node.attr == "setattr" and ast.unparse(node.value) == "monkeypatch"
    ]
    assert wrong == []


def test_files_are_short_and_named_for_what_they_hold() -> None:
    for path in modules(*SIDES, "tests"):
        lines = len(path.read_text().splitlines())
        assert lines <= MOST_LINES, f"{place(path)} has {lines} lines: split it by concept"
        assert not {"utils", "util", "helpers", "misc"} & {*path.relative_to(ROOT).parts, path.stem}, place(path)


def test_every_folder_of_code_is_a_package_so_that_it_is_installed() -> None:
    folders = {path.parent for path in modules(*SIDES, "tests")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_neither_side_installs_what_only_the_other_needs() -> None:
    assert not distributions("server") & {"httpx", "jinja2", "matplotlib", "tensorboardx"}
    assert not distributions("edge") & {"fastapi", "limits", "pydantic-settings", "uvicorn"}


def test_every_dependency_has_a_range_here_and_an_exact_version_in_the_constraints() -> None:
    pins = [line.split("==") for line in (ROOT / ".ci/constraints.txt").read_text().splitlines()]
    assert all(len(pin) == 2 for pin in pins)
    pinned = {name.lower().replace("_", "-") for name, _ in pins}
    requirements = [*PYPROJECT["build-system"]["requires"], *PYPROJECT["project"]["dependencies"]]
    requirements += [line for extra in EXTRAS.values() for line in extra if distribution(line) != "mekd"]
    for requirement in requirements:
        assert re.fullmatch(r"[A-Za-z0-9._-]+(\[\w+\])?>=[0-9.]+(,<[0-9.]+)?", requirement), requirement
        assert distribution(requirement) in pinned, requirement
