"""`mekd-edge`: distil a teacher that can only be called, and look at what came out.

The API key comes from the environment, MEKD_API_KEY or a file named by MEKD_API_KEY_FILE, never from a flag: flags
are seen by everybody on the machine.
"""

import typer

from edge.commands.distill import distill
from edge.commands.evaluate import evaluate
from edge.commands.query import query
from edge.commands.report import report
from shared import command_line

app = typer.Typer(
    help="The edge side of MEKD: a small student from a teacher behind a metered API.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (distill, evaluate, report, query):
    app.command()(command)


def main() -> None:
    """Run the program."""
    command_line.run(app)
