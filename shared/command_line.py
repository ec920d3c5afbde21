"""How a program of ours ends: what went wrong in one line on stderr, its exit code, and no traceback."""

import json
import sys
from collections.abc import Callable
from typing import NoReturn

from rich.console import Console
from rich.markup import escape

from shared.errors import MekdError

USAGE = 2
"""Exit code of typer, which has printed its message."""


def run(command: Callable[[], object], *, json_errors: bool = False) -> None:
    """Run `command`; exits with the code that `shared.errors` gives to what stopped it.

    With `json_errors` a program that called ours finds the error on stdout, too:
    {"error": its code, "message": the line on stderr, "exit_code": the exit code}; see `described`.
    """
    try:
        command()
    except MekdError as error:
        _end(error.code, str(error), error.exit_code, json_errors=json_errors)
    except OSError as error:  # a full disk, a folder without rights: what was committed before is whole
        message = f"{error}. Mend that, and the same command goes on."
        _end(MekdError.code, message, MekdError.exit_code, json_errors=json_errors)
    except SystemExit as error:
        if json_errors and error.code == USAGE:
            _print_json("usage", "The command line was not understood; stderr says why.", USAGE)
        raise


def described(code: str, message: str, exit_code: int) -> dict[str, str | int]:
    """What a program that called ours is told of an error."""
    return {"error": code, "message": message, "exit_code": exit_code}


def _end(code: str, message: str, exit_code: int, *, json_errors: bool) -> NoReturn:
    Console(stderr=True).print(f"[red]Error:[/red] {escape(message)}", highlight=False, soft_wrap=True)
    if json_errors:
        _print_json(code, message, exit_code)
    sys.exit(exit_code)


def _print_json(code: str, message: str, exit_code: int) -> None:
    print(json.dumps(described(code, message, exit_code)))  # noqa: T201 - for the caller
