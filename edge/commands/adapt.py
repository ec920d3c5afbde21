"""`mekd-edge adapt`."""

from rich.markup import escape

from edge.commands.options import Json, NewImages, PriorStrength, Quiet, RunData, RunPath, given, prepare_torch, show


def adapt(
    run: RunPath,
    images: NewImages = None,
    data: RunData = None,
    prior_strength: PriorStrength = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Adapt the student to this device's images, by forward passes alone, and write it beside.

    No label, no gradient, no query. What it is worth is told by 'evaluate --adapt private'.

    Example: mekd-edge adapt --run runs/mine --images photos/
    """
    prepare_torch()
    from edge.adapted_student import Adaptation, keep_adapted
    from edge.run_folder import RunFolder
    from edge.stopping import stop_on_signal
    from edge.training import Watcher

    adaptation = Adaptation("private", **given({"prior_strength": prior_strength, "images": images}))
    with stop_on_signal() as stop:
        kept = keep_adapted(RunFolder(run), adaptation, data, Watcher(should_stop=stop))
    remark = f"Student adapted to {kept['images']:,} images written to {escape(kept['student'])}."
    show(kept, remark, as_json=json, quiet=quiet)
