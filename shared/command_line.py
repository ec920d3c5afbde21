"""How a program of ours ends: what went wrong in one line on stderr, its exit code, and no traceback."""

import sys
from collections.abc import Callable

from rich.console import Console
from rich.markup import escape

from shared.errors import MekdError


def run(command: Callable[[], object]) -> None:
    """Run `command`; exits with the code that `shared.errors` gives to what stopped it."""
    try:
        command()
    except MekdError as error:
        _complain(str(error))
        sys.exit(error.exit_code)
    except OSError as error:  # a full disk, a folder without rights: what was committed before is whole
        _complain(f"{error}. Mend that, and the same command goes on.")
        sys.exit(MekdError.exit_code)


def _complain(message: str) -> None:
    console = Console(stderr=True)
    console.print(f"[red]Error:[/red] {escape(message)}", highlight=False, soft_wrap=True)
