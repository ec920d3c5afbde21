"""What a run will take, for the terminal: a table by stage, and what follows from it."""

from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table

from edge.planning.prediction import Prediction, StagePrediction
from shared.protocol import Usage


def prediction_table(prediction: Prediction) -> Table:
    """A row per stage, and one for both."""
    table = Table("stage", title="What the run will take")
    columns = ["queries", "requests", "bytes up", "bytes down", "minutes for the rate"]
    if prediction.link:
        columns.append(f"minutes on the link {escape(prediction.link)}")
    columns.append("minutes in all")
    if prediction.price_per_1000 is not None:
        columns.append("cost")
    for column in columns:
        table.add_column(column, justify="right")
    for name, stage in prediction.stages.items():
        table.add_row(name, *_cells(prediction, stage))
    table.add_section()
    table.add_row("in all", *_cells(prediction, prediction.total))
    return table


def remarks(prediction: Prediction, usage: Usage | None) -> Iterator[str]:
    """Whether the key can pay, what is held out, and what is not known, a sentence or two each."""
    total = prediction.total
    if usage is None:
        yield "The server has no meter: whether the key can pay, and how fast it may ask, cannot be known."
    else:
        verdict = "enough" if total.queries <= usage.remaining else "not enough"
        yield f"Key '{usage.client}' has {usage.remaining:,} of {usage.budget:,} queries left: {verdict}."
        if total.refusals:
            yield (
                f"At {usage.images_per_minute:,} images per minute {total.refusals:,} requests will be sent away for "
                "a while and sent again; half a minute more or less, as the server's minutes begin."
            )
    yield f"{prediction.held_out:,} of the answers will be held out to select the student."
    if total.bytes_up is None:
        yield "How many bytes cannot be known: this server may write its answers in another form than ours."
    elif total.bytes_down_slack:
        yield f"Up to {total.bytes_down_slack:,} bytes less may come down: numbers in the headers vary in length."
    if total.seconds is None:
        yield "How long training takes was not timed."


def _cells(prediction: Prediction, stage: StagePrediction) -> Iterator[str]:
    for count in (stage.queries, stage.requests, stage.bytes_up, stage.bytes_down):
        yield _known(count, ",")
    yield _minutes(stage.rate_seconds)
    if prediction.link:
        yield _minutes(stage.link_seconds)
    yield _minutes(stage.seconds)
    if prediction.price_per_1000 is not None:
        yield _known(stage.cost, ",.2f")


def _minutes(seconds: float | None) -> str:
    return _known(None if seconds is None else seconds / 60, ",.1f")


def _known(number: float | None, form: str) -> str:
    return "unknown" if number is None else format(number, form)
