import json
import sys

import pytest

from shared import command_line
from shared.errors import BudgetTooSmall


def test_an_error_of_ours_is_one_line_and_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise BudgetTooSmall("10 needed, 3 left in [key]")

    with pytest.raises(SystemExit) as ended:
        command_line.run(fail)
    assert (ended.value.code, capsys.readouterr().err) == (5, "Error: 10 needed, 3 left in [key]\n")


def test_a_full_disk_is_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(SystemExit) as ended:
        command_line.run(fail)
    said = capsys.readouterr().err
    assert ended.value.code == 1 and "No space left on device" in said and said.count("\n") == 1


def test_a_defect_is_not_hidden() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        command_line.run(fail)


def test_a_program_finds_the_error_on_stdout_where_it_asked_for_json(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise BudgetTooSmall("10 needed, 3 left")

    def refuse_the_command_line() -> None:
        sys.exit(2)

    def end_well() -> None:
        sys.exit(0)

    with pytest.raises(SystemExit):
        command_line.run(fail, json_errors=True)
    out, err = capsys.readouterr()
    assert json.loads(out) == {"error": "budget-too-small", "message": "10 needed, 3 left", "exit_code": 5}
    assert err == "Error: 10 needed, 3 left\n"
    with pytest.raises(SystemExit) as ended:
        command_line.run(refuse_the_command_line, json_errors=True)
    refused = json.loads(capsys.readouterr().out)
    assert (refused["error"], refused["exit_code"], ended.value.code) == ("usage", 2, 2)
    with pytest.raises(SystemExit):
        command_line.run(end_well, json_errors=True)
    assert capsys.readouterr().out == ""
