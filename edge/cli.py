"""`mekd-edge`: distil a teacher that can only be called, and look at what came out.

The API key comes from the environment, MEKD_API_KEY or a file named by MEKD_API_KEY_FILE, never from a flag: flags
are seen by everybody on the machine.
"""

import sys

import typer

from edge.commands.adapt import adapt
from edge.commands.distill import distill
from edge.commands.evaluate import evaluate
from edge.commands.export import export
from edge.commands.import_ import import_
from edge.commands.leaderboard import leaderboard
from edge.commands.merge import merge
from edge.commands.plan import plan
from edge.commands.query import query
from edge.commands.replay import replay
from edge.commands.report import report
from edge.commands.sweep import sweep
from shared import command_line

EPILOG = """[bold]Exit codes[/bold]
  0  done
  1  something on this machine failed, a full disk for instance
  2  a flag, config, file, image or folder is wrong; the message names it
  3  the server is away or failed; the same command goes on
  4  the key is refused, or its policy does not show what was asked for
  5  the budget is too small, or spent
  6  the server refused the request
130  stopped by Ctrl-C; the same command goes on

The key comes from MEKD_API_KEY, or from the file that MEKD_API_KEY_FILE names; never from a flag."""
IN_ORDER_OF_USE = (plan, distill, evaluate, adapt, report, query, export, import_, merge, replay, sweep, leaderboard)

app = typer.Typer(
    help="A small student from a teacher behind a metered API: the edge side of MEKD.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in IN_ORDER_OF_USE:
    app.command(command.__name__.rstrip("_"))(command)  # import is a word of Python's


def main() -> None:
    """Run the program."""
    command_line.run(app, json_errors="--json" in sys.argv)
