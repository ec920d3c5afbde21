"""What several commands share: flags, the key, the way to the teacher, and how results are printed."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console, RenderableType

from edge.commands import completion
from edge.config import FOLDER
from shared import compute
from shared.errors import InvalidConfig

if TYPE_CHECKING:
    from pydantic import SecretStr

    from edge.asking.link import Link
    from edge.asking.teacher import Teacher
    from edge.commands.teacher_flags import Told
    from edge.stopping import StopRequest

console = Console(stderr=True)
"""For people: progress, tables, remarks. Only what a program may want to read goes to stdout."""

SOURCE, TEACHER, STUDENT, OUTPUT = "What to learn from", "Teacher and budget", "Student and loss terms", "Output"
ADAPTATION = "Adaptation by forward passes"
"""Panels of the help."""

Server = Annotated[
    str,
    typer.Option(
        envvar="MEKD_SERVER_URL",
        help="Where the teacher is, e.g. http://127.0.0.1:8000.",
        metavar="URL",
        rich_help_panel=TEACHER,
    ),
]
MaybeServer = Annotated[
    str | None,
    typer.Option(
        envvar="MEKD_SERVER_URL",
        help="Compare with the teacher there: 1 query per test image, best from a key of its own.",
        metavar="URL",
        rich_help_panel=TEACHER,
    ),
]
DataRoot = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the files of a named dataset.", metavar="FOLDER", rich_help_panel=SOURCE, file_okay=False
    ),
]
RunData = Annotated[
    Path | None,
    typer.Option(
        "--data-root",
        "--data",
        help="Folder of the files of a named dataset; or of the images that the run learnt from.",
        metavar="FOLDER",
        rich_help_panel=SOURCE,
        file_okay=False,
    ),
]
NewImages = Annotated[
    Path | None,
    typer.Option(
        "--images",
        help="Unlabelled images to adapt to, as this device sees them now; otherwise those that the run learnt from.",
        metavar="FOLDER",
        rich_help_panel=ADAPTATION,
        file_okay=False,
    ),
]
PriorStrength = Annotated[
    float | None,
    typer.Option(
        help="Images that the student's own batch-norm statistics count as; 0 forgets them.",
        show_default="16",
        metavar="IMAGES",
        min=0,
        rich_help_panel=ADAPTATION,
    ),
]
LinkName = Annotated[
    str | None,
    typer.Option(
        "--link",
        help="Account the seconds on a slow link: lan, wifi, 4g, 3g, lora, or a TOML file.",
        metavar="NAME|FILE",
        rich_help_panel=TEACHER,
        autocompletion=completion.links,
    ),
]
RealTime = Annotated[
    bool,
    typer.Option(
        "--real-time", help="Wait for the link's seconds instead of adding them up.", rich_help_panel=TEACHER
    ),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", help="Print nothing but errors: no progress, no table.", rich_help_panel=OUTPUT)
]
Json = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print the results, or the error, as one JSON object on stdout; all else goes to stderr.",
        rich_help_panel=OUTPUT,
    ),
]
Out = Annotated[
    Path,
    typer.Option(
        help="Folder of the run, made where there is none; started again with the same one, it goes on.",
        metavar="FOLDER",
        rich_help_panel=OUTPUT,
        autocompletion=completion.run_folders,
    ),
]
RunPath = Annotated[
    Path,
    typer.Option("--run", help="Folder of a run.", metavar="FOLDER", autocompletion=completion.run_folders),
]


@contextmanager
def the_teacher(
    server: str,
    told: "Told",
    stop: "StopRequest",
    link: "Link | None" = None,
    *,
    seed: int = 0,
    real_time: bool = False,
) -> Iterator["Teacher"]:
    """The teacher at `server`, asked with the key from the environment; waiting ends when `stop` says so.

    Behind a `link` every exchange is accounted its seconds, which `seed` decides; in `real_time` they are waited for.
    """
    import httpx

    from edge.adapters.loading import load
    from edge.asking.client import TeacherClient
    from edge.asking.exchange import KEEPALIVE_EXPIRY, Exchange
    from edge.asking.simulated_link import SimulatedLink
    from edge.asking.wire_bytes import CountingTransport

    transport: httpx.BaseTransport = CountingTransport(keepalive_expiry=KEEPALIVE_EXPIRY)
    if link:
        transport = SimulatedLink(transport, link, seed, sleep=stop.sleep if real_time else None)
    with httpx.Client(transport=transport) as http:
        if told.adapter is None:
            yield TeacherClient(server, api_key(), told.model, http=http, sleep=stop.sleep)
        else:
            factory, protocol = load(told.adapter), f"the protocol of {told.adapter}"
            yield factory(Exchange(server, api_key(), protocol=protocol, http=http, sleep=stop.sleep), told.model)


def the_link(name: str | None, *, real_time: bool) -> "Link | None":
    """The link that the flags name.

    Raises:
        InvalidConfig: there is no such link, or nothing to wait for in `real_time`.
    """
    from edge.asking.link import named_link

    if real_time and not name:
        raise InvalidConfig(
            "--real-time waits for a link's seconds, and no link is given. Add --link, or leave it out."
        )
    return named_link(name) if name else None


def data_source(data: str | None, data_root: Path | None) -> tuple[str | None, Path | None]:
    """What `--data` names, as the config has it, and where that is: a dataset below `data_root`, or a folder itself.

    A path separator or the name of a folder make it a folder; a dataset's name goes before a folder of that name.

    Raises:
        InvalidConfig: a folder beside `data_root`.
    """
    if data is None:
        return None, data_root
    is_folder = os.sep in data
    if not is_folder and Path(data).is_dir():
        compute.yield_when_idle()  # scikit-learn brings threads
        from shared import datasets

        is_folder = data not in datasets.LOADERS
    if not is_folder:
        return data, data_root
    if data_root is not None:
        raise InvalidConfig(f"--data names the folder {data}: no dataset is looked for. Leave out --data-root.")
    return FOLDER, Path(data)


def api_key() -> "SecretStr":
    """The key from the environment, as a secret that does not print; empty where MEKD_API_KEY is set to nothing.

    Raises:
        InvalidConfig: no key, or its file cannot be read.
    """
    from pydantic import SecretStr

    if key := os.environ.get("MEKD_API_KEY"):
        return SecretStr(key.strip())
    if file := os.environ.get("MEKD_API_KEY_FILE"):
        try:
            return SecretStr(Path(file).read_text().strip())
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise InvalidConfig(f"MEKD_API_KEY_FILE names {file}, which cannot be read: {reason}.") from None
    if key is not None:
        return SecretStr("")
    raise InvalidConfig(
        "No API key. Set MEKD_API_KEY, or MEKD_API_KEY_FILE to the name of a file that holds it. For a server that "
        "wants none, set MEKD_API_KEY to nothing."
    )


def given(flags: dict[str, Any]) -> dict[str, Any]:
    """Only the flags that were given, sections included."""
    nested = {name: given(value) if isinstance(value, dict) else value for name, value in flags.items()}
    return {name: value for name, value in nested.items() if value not in (None, {})}


def show(results: dict[str, Any], table: RenderableType, *, as_json: bool, quiet: bool = False) -> None:
    """Print results: for a program on stdout, or for people on stderr, or not at all."""
    if as_json:
        print(json.dumps(results))  # noqa: T201 - what --json is for
    elif not quiet:
        console.print(table, soft_wrap=True)


def prepare_torch() -> None:
    """To be called before torch is imported."""
    compute.yield_when_idle()
    compute.keep_freed_memory()
    compute.use_threads()
