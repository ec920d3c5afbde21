"""`mekd-edge evaluate`."""

from contextlib import nullcontext

from edge.commands.options import (
    DataRoot,
    Json,
    LinkName,
    MaybeServer,
    Quiet,
    RealTime,
    RunPath,
    prepare_torch,
    show,
    the_link,
    the_teacher,
)


def evaluate(
    run: RunPath,
    server: MaybeServer = None,
    data_root: DataRoot = None,
    link: LinkName = None,
    real_time: RealTime = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Measure the student on the test images; with --server, the teacher too, which costs queries."""
    behind = the_link(link, real_time=real_time)
    prepare_torch()
    from edge.evaluation import evaluate as measure
    from edge.report.summary import evaluation_table
    from edge.run_folder import RunFolder
    from edge.stopping import stop_on_signal
    from edge.training import Watcher

    with (
        stop_on_signal() as stop,
        the_teacher(server, stop, behind, real_time=real_time) if server else nullcontext() as teacher,
    ):
        measured = measure(RunFolder(run), teacher, data_root, Watcher(should_stop=stop), behind)
    show(measured, evaluation_table(measured), as_json=json, quiet=quiet)
