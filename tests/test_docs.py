"""What the README and the page of results say is so.

Commands parse, error codes and exit codes are the programs', named files exist, links lead somewhere.
"""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer.main

import edge.cli
import server.cli
from edge.experiments.adaptation import adaptation
from edge.experiments.least_recall import least_recall
from edge.experiments.on_cloud_images import on_cloud_images
from edge.experiments.paired import paired
from edge.experiments.publish import publish
from shared import errors
from shared.errors import MekdError

ROOT = Path(__file__).parent.parent
FRONT, RESULTS = ROOT / "README.md", ROOT / "edge" / "experiments" / "README.md"
README = FRONT.read_text()
LINKING = [page for folder in (ROOT, ROOT / "server", ROOT / "edge", RESULTS.parent) for page in folder.glob("*.md")]


def alone(function: Callable[..., None]) -> Any:
    """The command that `typer.run` makes of a function."""
    app = typer.Typer(add_completion=False)
    app.command()(function)
    return typer.main.get_command(app)


PROGRAMS = {
    "mekd-edge": typer.main.get_command(edge.cli.app),
    "mekd-server": typer.main.get_command(server.cli.app),
    "python -m edge.experiments.adaptation": alone(adaptation),
    "python -m edge.experiments.least_recall": alone(least_recall),
    "python -m edge.experiments.on_cloud_images": alone(on_cloud_images),
    "python -m edge.experiments.paired": alone(paired),
    "python -m edge.experiments.publish": alone(publish),
}


def shown_commands(*pages: Path) -> list[str]:
    text = "\n".join(page.read_text() for page in pages)
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    shown = [line for line in lines if line.startswith((".venv/bin/", *PROGRAMS))]
    return [line.removeprefix(".venv/bin/").partition("  #")[0].strip() for line in shown]


def program_of(line: str) -> str:
    (program,) = (name for name in PROGRAMS if line.startswith(name))
    return program


def all_errors(kind: type[MekdError] = MekdError) -> list[type[MekdError]]:
    return [found for child in kind.__subclasses__() for found in (child, *all_errors(child))]


def test_the_readme_shows_both_programs_and_the_page_of_results_every_one() -> None:
    readme, results = ({program_of(line) for line in shown_commands(page)} for page in (FRONT, RESULTS))
    assert readme >= {"mekd-edge", "mekd-server"} and results == set(PROGRAMS)


@pytest.mark.parametrize("line", shown_commands(FRONT, RESULTS))
def test_shown_commands_are_accepted(line: str) -> None:
    command: Any = PROGRAMS[program_of(line)]
    arguments = shlex.split(line.removeprefix(program_of(line)))
    while commands := getattr(command, "commands", None):
        name, *arguments = arguments
        assert name in commands, f"{program_of(line)} has no command {name}"
        command = commands[name]
    known = {flag for parameter in command.params for flag in parameter.opts}
    assert {argument for argument in arguments if argument.startswith("--")} <= known
    named = [argument for argument in arguments if argument.startswith("edge/experiments/")]
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("error", [e for e in all_errors() if e is not errors.ApiError], ids=lambda e: e.code)
def test_every_error_stands_in_the_row_of_its_exit_code(error: type[MekdError]) -> None:
    rows = dict(re.findall(r"^\| (\d+) \| ([^|]+) \|", README, flags=re.MULTILINE))
    assert f"`{error.code}`" in rows[str(error.exit_code)].split()


def test_files_that_the_readme_names_exist() -> None:
    tree = re.search(r"^## Where things are\n+```\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    assert tree is not None
    missing, folder = [], ""
    for line in tree[1].splitlines():
        folder = line.split()[0] if not line.startswith(" ") else folder
        missing += [
            folder + name
            for name in re.findall(r"[\w/]+\.py|\w+/|Dockerfile", line.removeprefix(folder))
            if not (ROOT / folder / name).exists() and not (ROOT / name).exists()
        ]
    assert missing == []


def anchors(page: Path) -> set[str]:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-") for title in titles}


def links(page: Path) -> list[tuple[Path, str]]:
    """Files and anchors; of the page itself where only an anchor is named."""
    found = re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text())
    return [(page.parent / file if file else page, anchor) for file, anchor in found]


@pytest.mark.parametrize("page", LINKING, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert [to for to in links(page) if not to[0].exists() or (to[1] and to[1] not in anchors(to[0]))] == []


@pytest.mark.parametrize("page", [FRONT, RESULTS, ROOT / "server" / "README.md", ROOT / "edge" / "README.md"])
def test_the_manuals_have_links(page: Path) -> None:
    assert links(page)
