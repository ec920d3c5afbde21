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
