"""What the README and the page of results say is so.

Commands parse, error codes and exit codes are the programs', named files exist.
"""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

import edge.cli
import server.cli
from shared import errors
from shared.errors import MekdError

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", ROOT / "edge" / "experiments" / "README.md")
README = PAGES[0].read_text()
PROGRAMS = {"mekd-edge": edge.cli.app, "mekd-server": server.cli.app}


def shown_commands() -> list[str]:
    blocks = re.findall(
        r"^```\w*\n(.*?)^```", "\n".join(page.read_text() for page in PAGES), flags=re.MULTILINE | re.DOTALL
    )
    lines = [line.removeprefix(".venv/bin/") for block in blocks for line in block.splitlines()]
    return [line.partition("  #")[0].strip() for line in lines if line.startswith(tuple(PROGRAMS))]


def all_errors(kind: type[MekdError] = MekdError) -> list[type[MekdError]]:
    return [found for child in kind.__subclasses__() for found in (child, *all_errors(child))]


def test_readme_shows_commands_of_both_programs() -> None:
    assert {line.split()[0] for line in shown_commands()} == set(PROGRAMS)


@pytest.mark.parametrize("line", shown_commands())
def test_commands_of_the_readme_are_accepted(line: str) -> None:
    program, *arguments = shlex.split(line)
    command: Any = typer.main.get_command(PROGRAMS[program])
    while commands := getattr(command, "commands", None):
        name, *arguments = arguments
        assert name in commands, f"{program} has no command {name}"
        command = commands[name]
    known = {flag for parameter in command.params for flag in parameter.opts}
    assert {argument for argument in arguments if argument.startswith("--")} <= known


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_linked_files_exist(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text())
    assert links
    assert [link for link in links if not (page.parent / link).exists()] == []
