"""The edge's page tells of every command, option, field, file, result and exit code, and of no other."""

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer.main
from pydantic import BaseModel, SecretStr

import edge.cli
from edge import run_folder
from edge.adapted_student import Adaptation
from edge.asking.client import TeacherClient
from edge.asking.link import LINKS, Link
from edge.config import RECIPES, Config, checked, merge, parse
from edge.evaluation import evaluate
from edge.run import run
from edge.run_folder import RunFolder
from edge.sweep.grid import Sweep, sorted_out
from edge.training import Watcher
from shared import architectures, datasets, errors
from tests.conftest import LiveServer
from tests.edge.small import digits, small_config

EDGE = Path(edge.cli.__file__).parent
PAGE = (EDGE / "README.md").read_text()
COMMANDS: dict[str, Any] = getattr(typer.main.get_command(edge.cli.app), "commands")  # noqa: B009 - typer's own type
FENCES = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
OTHER_PROGRAMS = ("pip ", "python ", "tensorboard ", "export ")


def section(title: str) -> str:
    """What stands under a heading, up to the next one."""
    found = re.search(rf"^##+ {re.escape(title)}\n(.*?)(?=^##|\Z)", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert found, f"edge/README.md has no section '{title}'"
    return found[1]


def rows(title: str) -> list[list[str]]:
    """Cells of the tables in a section, without their heads."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    return [row for row, below in zip(cells, [*cells[1:], []], strict=True) if not {"---"} & {*row[:1], *below[:1]}]


def words(title: str, column: int = 0) -> set[str]:
    """What is in backticks in a column of a section's tables."""
    return {word for row in rows(title) for word in re.findall(r"`([^`]+)`", row[column])}


def fields(model: BaseModel, prefix: str = "") -> dict[str, str]:
    """Defaults by dotted name."""
    found: dict[str, str] = {}
    for name in type(model).model_fields:
        value = getattr(model, name)
        found |= fields(value, f"{prefix}{name}.") if isinstance(value, BaseModel) else {prefix + name: str(value)}
    return found


def shown_lines() -> list[str]:
    lines = [line.partition("  #")[0].strip() for _, block in FENCES for line in block.splitlines()]
    return [part.strip().removeprefix("do ") for line in lines for part in line.split(";") if "mekd-edge " in part]


def options(name: str) -> set[str]:
    return {option for parameter in COMMANDS[name].params for option in (*parameter.opts, *parameter.secondary_opts)}


def test_every_command_has_a_heading() -> None:
    headings = {word for line in re.findall(r"^### (.*)$", PAGE, flags=re.MULTILINE) for word in line.split(", ")}
    assert set(COMMANDS) <= headings


def test_every_option_is_told_and_no_other() -> None:
    there = {option for name in COMMANDS for option in options(name) if option.startswith("--")}
    ours = "\n".join(line for line in PAGE.splitlines() if not line.startswith(OTHER_PROGRAMS))
    told = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", ours))
    assert told - {"--help", "--install-completion"} == there


def test_shared_options_are_those_of_the_commands_that_are_named() -> None:
    learning = {option for option in words("What to learn from, and the student") if option.startswith("--")}
    assert learning <= options("distill") and learning - {"--out"} <= options("plan")
    asking = {option for option in words("The teacher") if option.startswith("--")}
    assert asking <= options("distill") & options("evaluate")
    assert options("distill") == learning | asking | {"--quiet", "--json", "--send-private-images"}
    assert "`--send-private-images`" in section("distill")


@pytest.mark.parametrize("line", shown_lines())
def test_every_command_that_is_shown_is_accepted(line: str) -> None:
    _, *arguments = shlex.split(line)
    if arguments[0] not in {"COMMAND", "--help", "--install-completion"}:
        command, *arguments = arguments
        given = {argument for argument in arguments if argument.startswith("--")}
        assert given <= options(command)


def test_every_dataset_and_the_first_and_last_student_of_each_family_are_told() -> None:
    told = {row[0]: row[2] for row in rows("What to learn from, and the student")}
    assert set(datasets.LOADERS) <= set(re.findall(r"`([^`]+)`", told["`--data`"]))
    for name in (
        "resnet8",
        "resnet110",
        "vgg11",
        "vgg19",
        "mobilenetv1",
        "mobilenetv2",
        "shufflenetv1",
        "shufflenetv2",
    ):
        assert name in architectures.NAMES and f"`{name}`" in told["`--student`"]


def test_every_field_of_the_config_is_told_with_its_default() -> None:
    told = {row[0].strip("`"): row[1].strip("`") for row in rows("Config")}
    assert told == fields(Config())


@pytest.mark.parametrize(("dataset", "told"), [("mnist", r"\bMNIST"), ("cifar10", r"\bCIFAR-10, on a GPU:")])
def test_the_recipe_of_a_dataset_is_told(dataset: str, told: str) -> None:
    recipe, default = fields(RECIPES[dataset]()), fields(Config())
    different = {
        name: value.lower() for name, value in recipe.items() if name != "dataset" and value != default[name]
    }
    (words,) = re.findall(rf"{told} (`.*?)[.;]\s", section("Config"), flags=re.DOTALL)
    assert dict(re.findall(r"`([\w.]+)`\s+([\w.]*\w)", words)) == different


def test_every_file_of_a_run_is_told() -> None:
    promised = re.findall(r"^(\S+) {2,}\S", run_folder.__doc__ or "", flags=re.MULTILINE)
    assert words("The run's folder") >= set(promised)
    assert {row[0].strip("`") for row in rows("The run's folder")} == set(promised)


def test_every_link_is_told_and_the_file_that_is_shown_is_one() -> None:
    assert {row[0].strip("`") for row in rows("Links")} == set(LINKS)
    config, sweep, link, short = (tomllib.loads(block) for language, block in FENCES if language == "toml")
    possible, refused = sorted_out(checked(Sweep, sweep, "field"), {"digits": digits()})
    assert possible and {cell.method for cell in refused} == {"dkd", "dkd-own"}
    assert set(link) == set(Link.model_fields)
    Link.model_validate(link)
    for changes in (config, short):
        parse(merge(Config().model_dump(), changes))


def test_every_error_stands_in_the_row_of_its_exit_code() -> None:
    def all_errors(kind: type[errors.MekdError]) -> list[type[errors.MekdError]]:
        return [kind, *(found for child in kind.__subclasses__() for found in all_errors(child))]

    there: dict[str, set[str]] = {"0": set(), "2": {"usage"}}
    for error in all_errors(errors.MekdError):
        if error is not errors.ApiError:
            there.setdefault(str(error.exit_code), set()).add(error.code)
    assert {row[0]: set(re.findall(r"`([^`]+)`", row[1])) for row in rows("Exit codes and errors")} == there
    help_text = edge.cli.EPILOG
    assert set(re.findall(r"^ *(\d+)  ", help_text, flags=re.MULTILINE)) == set(there)


def test_every_result_is_told(live_server: LiveServer, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with TeacherClient(live_server.url, SecretStr(live_server.make_key())) as client:
        run(small_config(), client, folder.path)
        evaluate(folder, client, None, Watcher(), adaptation=Adaptation("test"))
    results = folder.results()
    assert words("results.json") == {*results, "replayed_from"}
    told = {row[0].strip("`"): set(re.findall(r"[a-z_0-9]+", row[1])) for row in rows("results.json")}
    assert set(results["stages"]["distillation"]) <= told["stages"]
    assert set(results["prediction"]) | set(results["prediction"]["total"]) <= told["prediction"]
    for name in ("evaluation", "pool", "student", "generator"):
        assert set(results[name]) <= told[name]
    assert set(results["evaluation"]["adapted"]) <= told["evaluation"]
    (measured,) = (row[1] for row in rows("results.json") if row[0] == "`evaluation`")
    assert set(re.findall(r"`(\w+)`", measured)) == set(results["evaluation"])
