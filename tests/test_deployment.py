"""The images and the compose file, as far as they can be checked without a container engine.

`tests/end_to_end/test_compose.py` runs the same commands as processes, the workflow in containers.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer import Typer
from typer.testing import CliRunner

import edge.cli
import server.cli
from server.settings import Settings

ROOT = Path(__file__).parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
WORKFLOW: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
SIDES = ("server", "edge")
PROGRAMS: dict[str, Typer] = {"mekd-server": server.cli.app, "mekd-edge": edge.cli.app}
USER = "10001:10001"
ENDS, ANSWERS = "service_completed_successfully", "service_healthy"

every_service = pytest.mark.parametrize("name", SERVICES)
every_side = pytest.mark.parametrize("side", SIDES)


def tool(*command: str) -> None:
    """Run a checker from the environment that runs the tests."""
    path = str(Path(sys.executable).with_name(command[0]))
    checked = subprocess.run([path, *command[1:]], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def stages(side: str) -> list[list[tuple[str, str]]]:
    """Instructions and their arguments, by stage."""
    text = re.sub(r"^#.*\n", "", (ROOT / side / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    found: list[list[tuple[str, str]]] = []
    for line in filter(None, lines):
        word, _, arguments = line.partition(" ")
        if word == "FROM":
            found.append([])
        found[-1].append((word, arguments))
    return found


def image(side: str) -> dict[str, str]:
    """The last instruction of each kind in the stage that becomes the image."""
    return dict(stages(side)[-1])


def side_of(name: str) -> str:
    """The side whose image a service runs; the cloud's one-shot tasks run the server's."""
    return str(SERVICES[name]["image"]).removeprefix("mekd-")


def mounts(name: str) -> dict[str, tuple[str, str]]:
    """By volume: where it is mounted, and 'rw' or 'ro'."""
    found = {}
    for volume in SERVICES[name].get("volumes", []):
        source, target, *mode = volume.split(":")
        found[source] = (target, mode[0] if mode else "rw")
    return found


def conditions(name: str) -> dict[str, str]:
    """What a service waits for."""
    return {other: wait["condition"] for other, wait in SERVICES[name].get("depends_on", {}).items()}


def healthcheck(side: str) -> list[str]:
    """The command that an image asks after its health with."""
    command: list[str] = json.loads(image(side)["HEALTHCHECK"].partition("CMD ")[2])
    return command


def test_the_compose_file_and_the_workflow_keep_their_schemas() -> None:
    tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml")
    tool("check-jsonschema", "--builtin-schema", "vendor.github-workflows", ".github/workflows/ci.yml")


def test_the_dockerfiles_pass_their_linter() -> None:
    tool("hadolint", *(f"{side}/Dockerfile" for side in SIDES))


def test_everything_that_is_named_exists_and_everything_that_exists_is_used() -> None:
    assert {volume for name in SERVICES for volume in mounts(name)} == set(COMPOSE["volumes"])
    assert {network for service in SERVICES.values() for network in service.get("networks", [])} == set(
        COMPOSE["networks"]
    )
    assert {other for name in SERVICES for other in conditions(name)} <= set(SERVICES)


def test_what_is_waited_for_happens() -> None:
    for name in SERVICES:
        for other, condition in conditions(name).items():
            awaited = SERVICES[other]
            reports = "HEALTHCHECK" in image(side_of(other)) and "healthcheck" not in awaited
            assert condition == (ANSWERS if "restart" in awaited else ENDS), (name, other)
            assert condition == ENDS or reports, (name, other)


@every_service
def test_a_service_can_reach_and_waits_for_whom_it_names_and_nobody_else(name: str) -> None:
    named = set(re.findall(r"http://([a-z-]+):8000", " ".join(SERVICES[name]["command"])))
    assert named == {other for other, condition in conditions(name).items() if condition == ANSWERS}
    for other in named:
        assert set(SERVICES[name]["networks"]) <= set(SERVICES[other]["networks"])
    assert named or "ports" in SERVICES[name] or SERVICES[name].get("network_mode") == "none"


@every_service
def test_a_service_has_no_more_rights_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["user"] == USER
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"pids_limit", "mem_limit"} <= set(service)
    assert not {"privileged", "cap_add", "devices", "pid", "ipc", "userns_mode"} & set(service)


def test_only_the_server_listens_outside_and_only_on_this_machine() -> None:
    assert {name for name in SERVICES if "ports" in SERVICES[name]} == {"server"}
    (port,) = SERVICES["server"]["ports"]
    assert re.fullmatch(r"127\.0\.0\.1:\$\{MEKD_PORT:-8000\}:8000", port)
    assert {name for name, network in COMPOSE["networks"].items() if network and network.get("internal")} == {"api"}
    assert all(SERVICES[name]["networks"] == ["api"] for name in SERVICES if side_of(name) == "edge")


def test_the_device_never_sees_the_teacher_or_the_ledger_and_only_reads_its_keys() -> None:
    secret = {Path(value).parent.as_posix() for value in SERVICES["server"]["environment"].values()}
    for name in SERVICES:
        if side_of(name) == "edge":
            assert not secret & {target for target, _ in mounts(name).values()}
            assert not set(mounts(name)) & set(mounts("server"))
            assert mounts(name)["keys"] == ("/run/mekd", "ro")
    assert "keys" not in mounts("server")


def test_each_key_is_read_by_the_one_service_that_it_was_made_for() -> None:
    made = [option for service in SERVICES.values() for option in service["command"] if option.endswith(".key")]
    read = [SERVICES[name]["environment"]["MEKD_API_KEY_FILE"] for name in SERVICES if side_of(name) == "edge"]
    assert sorted(made) == sorted(read)


def test_the_server_may_finish_what_is_in_flight_before_it_is_killed() -> None:
    assert int(SERVICES["server"]["stop_grace_period"].removesuffix("s")) > Settings().drain_seconds
    assert {name for name, service in SERVICES.items() if "restart" in service} == {"server"}


@every_service
def test_a_command_is_one_that_the_program_accepts(name: str) -> None:
    (program,) = json.loads(image(side_of(name))["ENTRYPOINT"])
    result = CliRunner().invoke(PROGRAMS[program], [*SERVICES[name]["command"], "--help"])
    assert result.exit_code == 0, result.output


@every_service
def test_an_environment_variable_is_one_that_the_program_reads(name: str) -> None:
    known = {f"MEKD_SERVER_{field.upper()}" for field in Settings.model_fields}
    if side_of(name) == "edge":
        known = set(re.findall(r"MEKD_[A-Z_]+", (ROOT / "edge/cli.py").read_text()))
    assert set(SERVICES[name]["environment"]) <= known


@every_service
def test_a_service_is_built_from_its_own_side_s_dockerfile(name: str) -> None:
    build = SERVICES[name]["build"]
    assert (build["context"], build["dockerfile"]) == (".", f"{side_of(name)}/Dockerfile")
    assert {f"{argument}=" for argument in build["args"]} <= {
        value.replace('""', "") for word, value in stages(side_of(name))[0] if word == "ARG"
    }


@every_side
def test_an_image_holds_shared_and_its_own_side_and_nothing_else(side: str) -> None:
    build, final = stages(side)
    copied = {source for word, value in build if word == "COPY" for source in value.split()[:-1]}
    assert copied == {".ci/constraints.txt", "LICENSE", "pyproject.toml", "shared/", f"{side}/"}
    assert [value for word, value in final if word == "COPY"] == ["--from=build /opt/mekd /opt/mekd"]
    assert not any(word == "ADD" for word, _ in build + final)
    extras = [extra for word, value in build if word == "RUN" for extra in re.findall(r"\.\[(.*?)\]", value)]
    assert extras == [{"server": "server,postgres,redis", "edge": "edge"}[side]]


def test_a_build_is_sent_what_it_copies_and_no_more() -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        source for side in SIDES for word, value in stages(side)[0] if word == "COPY" for source in value.split()[:-1]
    }
    assert sent == copied
    assert all((ROOT / source).exists() for source in copied)


@every_side
def test_an_image_runs_its_program_as_a_user_without_rights(side: str) -> None:
    instructions = image(side)
    assert instructions["USER"] == USER
    assert json.loads(instructions["ENTRYPOINT"]) == [f"mekd-{side}"]
    assert instructions["STOPSIGNAL"] == "SIGTERM"
    assert "PYTHONUNBUFFERED=1" in instructions["ENV"]


@every_service
def test_what_is_mounted_belongs_to_the_image_s_user(name: str) -> None:
    (makes_folders,) = (value for word, value in stages(side_of(name))[-1] if word == "RUN")
    made = makes_folders.partition("install --directory --owner mekd --group mekd --mode 700 ")[2].split()
    assert {target for target, _ in mounts(name).values()} <= set(made)


def test_the_server_s_image_is_asked_after_its_health_where_the_server_listens() -> None:
    assert f"http://127.0.0.1:{Settings().port}/readyz" in healthcheck("server")[-1]
    assert image("server")["EXPOSE"] == str(Settings().port)


def test_continuous_integration_runs_the_script_that_people_run_and_the_compose_file() -> None:
    commands = {
        job: [step["run"] for step in body["steps"] if "run" in step] for job, body in WORKFLOW["jobs"].items()
    }
    assert commands["test"] == ["bash .ci/run"]
    assert any("docker compose up --wait server" in command for command in commands["compose"])


def test_make_says_which_python_it_needs(tmp_path: Path) -> None:
    command = ["make", "lint", "PYTHON=false", f"VENV={tmp_path}/venv"]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert made.returncode != 0
    assert "Python 3.11 or newer is needed" in made.stderr
    assert not (tmp_path / "venv").exists()
