"""Rows of a sweep: one trained student each, as JSON lines or as Parquet."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError

from edge.config import AROUND_STEP_2, RECIPE
from edge.sends import Sends
from shared.errors import InvalidConfig


def _unpacked(value: Any) -> Any:
    """Parquet holds nested columns as JSON strings."""
    return json.loads(value) if isinstance(value, str) else value


Name = Annotated[str, Field(min_length=1)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Nested = Annotated[dict[str, Any], BeforeValidator(_unpacked)]


class Setting(NamedTuple):
    """Rows of different settings have nothing to do with each other."""

    dataset: str
    teacher: str
    student: str


class Row(BaseModel):
    """One run of a sweep."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    method: Name
    track: Literal["A", "B"]
    """A: all methods train the student by the same recipe. B: each by its own."""
    dataset: Name
    teacher: Name
    student: Name
    """Its architecture."""
    response: Literal["soft", "top1"]
    budget: PositiveInt
    """Queries that were planned."""
    seed: int
    status: Literal["ok", "failed"]
    error: str | None = None
    """What stopped a run that failed."""
    queries: NonNegativeInt
    """Unique images sent, held-out ones included."""
    queries_by_stage: Annotated[dict[str, NonNegativeInt], BeforeValidator(_unpacked)] = {}
    paid: NonNegativeInt = 0
    """Queries that this row paid itself; one that replays a shared transfer set pays nothing."""
    bytes_up: NonNegativeInt | None = None
    bytes_down: NonNegativeInt | None = None
    """None where the server's bytes are not known."""
    link_seconds: Amount | None = None
    """On a simulated link."""
    seconds: Amount = 0.0
    """Of the run, without a generator that several runs share; of a replay those of step 2."""
    accuracy: Share | None = None
    fidelity: Share | None = None
    """Share of the test images where student and teacher name the same class."""
    kl_nats: Annotated[float, Field(allow_inf_nan=False)] | None = None
    calibration_error: Share | None = None
    teacher_accuracy: Share | None = None
    test_images: NonNegativeInt = 0
    sends: Sends
    """What left the device."""
    config: Nested = {}
    software: Nested = {}
    """Versions by name; `commit` is the code's."""
    hardware: Nested = {}

    @property
    def setting(self) -> Setting:
        """What must be equal for two rows to be compared."""
        return Setting(self.dataset, self.teacher, self.student)

    @property
    def recipe(self) -> dict[str, Any]:
        """How the student was trained, by field; in track A as all are. Empty where no config is told."""
        step = self.config.get("distillation", {})
        around = {name: self.config[name] for name in AROUND_STEP_2 if name in self.config}
        return around | {name: step[name] for name in RECIPE if name in step}

    @property
    def cell(self) -> tuple[Setting, str, str, str, int, int]:
        """What the row measures; another row with the same is a repetition."""
        return (self.setting, self.track, self.response, self.method, self.budget, self.seed)


def read_rows(paths: Sequence[Path]) -> list[Row]:
    """Rows of all files in their order; of those that measure the same the last one counts.

    Raises:
        InvalidConfig: names the file and the line or row that is no run of a sweep; or there is no row at all.
    """
    rows: dict[Any, Row] = {}
    for row, _ in rows_and_documents(paths):
        rows.pop(row.cell, None)
        rows[row.cell] = row
    if not rows:
        raise InvalidConfig(
            f"There is not one row in {', '.join(map(str, paths)) or 'no file'}. Give a sweep's rows."
        )
    return list(rows.values())


def rows_and_documents(paths: Sequence[Path]) -> Iterator[tuple[Row, dict[str, Any]]]:
    """Every row of all files, repetitions too, with the document that it was read from.

    Raises:
        InvalidConfig: names the file and the line or row that is no run of a sweep.
    """
    for path in paths:
        for place, document in _documents(path):
            try:
                yield Row.model_validate(document), document
            except ValidationError as error:
                raise InvalidConfig(f"{path}, {place}, is no run of a sweep: {_reason(error)}") from None


def check_known(method: str, rows: Sequence[Row]) -> None:
    """Refuse to compare with a method of which there is no row.

    Raises:
        InvalidConfig: lists the methods that there are.
    """
    known = sorted({row.method for row in rows})
    if method not in known:
        raise InvalidConfig(f"No row is of the method '{method}' to compare with. There are: {', '.join(known)}.")


def check_one_recipe(rows: Sequence[Row]) -> None:
    """Refuse students of track A that did not learn by one recipe: rows of several sweeps may not.

    Raises:
        InvalidConfig: names the fields that differ.
    """
    recipes = [row.recipe for row in rows if row.track == "A" and row.recipe]
    found = {name: sorted({str(recipe.get(name)) for recipe in recipes}) for recipe in recipes[:1] for name in recipe}
    differing = {name: values for name, values in found.items() if len(values) > 1}
    if differing:
        name, values = next(iter(differing.items()))
        raise InvalidConfig(
            f"Track A compares students of one recipe, and these rows are of several: {', '.join(differing)} differ "
            f"({name}: {', '.join(values)}). Give the rows of one sweep."
        )


def _documents(path: Path) -> Iterator[tuple[str, Any]]:
    """Rows as they are in a file, each with the words that name its place."""
    if path.suffix not in (".jsonl", ".parquet"):
        raise InvalidConfig(f"{path} is neither .jsonl nor .parquet, so it cannot be read as rows of a sweep.")
    if not path.is_file():
        raise InvalidConfig(f"There is no file {path}. A sweep writes its rows; name that file.")
    if path.suffix == ".parquet":
        yield from _parquet(path)
        return
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # not at U+2028, which JSON strings may hold
    except UnicodeDecodeError as error:
        raise InvalidConfig(f"{path} is no text: byte {error.start} is not UTF-8. Write it as JSON lines.") from None
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield f"line {number}", json.loads(line)
            except ValueError as error:
                raise InvalidConfig(f"{path}, line {number}, is no JSON: {error}.") from None


def _parquet(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        import pyarrow  # only who has Parquet files needs it
        from pyarrow import parquet
    except ImportError:
        raise InvalidConfig(
            f'{path} is Parquet, and pyarrow, which reads it, is not installed: pip install ".[sweep]".'
        ) from None
    try:
        documents = parquet.read_table(path).to_pylist()
    except pyarrow.ArrowException as error:
        raise InvalidConfig(f"{path} cannot be read as Parquet: {error}. Write it anew.") from None
    for number, document in enumerate(documents, 1):
        yield f"row {number}", document


def _reason(error: ValidationError) -> str:
    """The first field that is wrong, and what was there."""
    first = error.errors(include_url=False)[0]
    name = ".".join(str(part) for part in first["loc"])
    given = "" if isinstance(first["input"], dict) else f" (given: {first['input']!r})"
    return f"'{name}': {first['msg']}{given}." if name else f"{first['msg']}{given}."
