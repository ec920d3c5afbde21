"""The operator's page tells of every setting, route, metric, error and policy, and of none that there is not."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

import server.cli
from server.disclosure import parse_policy
from server.metrics import Metrics
from server.settings import Settings
from shared import errors
from tests.conftest import Serve
from tests.server.asking import get

SERVER = Path(server.cli.__file__).parent
PAGE = (SERVER / "README.md").read_text()


def section(title: str) -> str:
    """What stands under a heading, up to the next one."""
    found = re.search(rf"^##+ {title}\n(.*?)(?=^##|\Z)", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert found, f"server/README.md has no section '{title}'"
    return found[1]


def rows(title: str) -> list[list[str]]:
    """Cells of the tables in a section, without their heads."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [row for row, below in zip(cells, [*cells[1:], []], strict=True) if not {"---"} & {*row[:1], *below[:1]}]


def shown() -> dict[str, str]:
    """Names of all metrics and their help."""
    metrics = Metrics()
    metrics.watch_budgets(list)
    return {
        family.name + ("_total" if family.type == "counter" else ""): family.documentation
        for family in metrics.registry.collect()
    }


def test_every_setting_is_told_with_its_default() -> None:
    told = {row[0].strip("`"): row[1].strip("`") for row in rows("Settings")}
    assert set(told) == set(Settings.model_fields)
    for name, field in Settings.model_fields.items():
        default = field.default
        plain = default.get_secret_value() if hasattr(default, "get_secret_value") else default
        if field.default_factory is None and plain is not None:
            assert told[name] == str(plain), name


def test_every_route_is_told(serve: Serve) -> None:
    described = get(serve(openapi=True), "/openapi.json").json()["paths"]
    there = {f"{method.upper()} {path}" for path, methods in described.items() for method in methods}
    assert {route for row in rows("Routes") for route in re.findall(r"`([^`]+)`", row[0])} == there
    assert "`/openapi.json`" in section("Settings")


def test_every_error_is_told_with_its_status() -> None:
    told = {(row[1].strip("`"), int(row[0])) for row in rows("Errors")}
    assert told == {(error.code, error.status) for error in errors.BY_CODE.values()}


def test_every_metric_is_told_with_its_labels() -> None:
    assert {row[0].strip("`") for row in rows("Metrics")} == set(shown())


def test_every_policy_that_is_told_is_one_and_shows_what_is_told() -> None:
    for policy, outputs, _ in rows("Policies"):
        assert parse_policy(policy.strip("`")).outputs == tuple(re.findall(r"`(\w+)`", outputs))
    for policy in re.findall(r"`(\w+\+noise[\d.]+)`", section("Policies")):
        assert parse_policy(policy).noise > 0


@pytest.mark.parametrize(
    "line",
    [
        line.partition("  #")[0]
        for block in re.findall(r"^```\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
        if line.startswith("mekd-server")
    ],
)
def test_every_command_that_is_shown_is_accepted(line: str) -> None:
    _, *arguments = shlex.split(line)
    command: Any = typer.main.get_command(server.cli.app)
    while commands := getattr(command, "commands", None):
        name, *arguments = arguments
        assert name in commands
        command = commands[name]
    known = {flag for parameter in command.params for flag in parameter.opts}
    assert {argument.partition("=")[0] for argument in arguments if argument.startswith("--")} <= known


def test_the_dashboard_shows_every_metric_and_no_other() -> None:
    dashboard = json.loads((SERVER / "deploy/grafana-dashboard.json").read_text())
    asked = " ".join(target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"\bmekd_\w+", asked)} == set(shown())
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_prometheus_scrapes_the_port_that_the_page_opens() -> None:
    config = yaml.safe_load((SERVER / "deploy/prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    assert f"--metrics-port {target.rpartition(':')[2]}" in section("Start")
