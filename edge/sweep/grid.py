"""What a sweep compares: every method with every budget, response, dataset, student and seed.

methods = ["pool", "lq", "kd", "dkd-own", "both"]      # presets and variants
budgets = [250, 1000]
seeds = [0, 1, 2]

[teachers]
digits = "data/digits.safetensors"                     # served on this machine while the sweep runs

[config.distillation]                                  # over the datasets' recipes, below the presets
steps = 1000

[variants.both]                                        # a preset, changed
preset = "pool"
distillation.image_weight = 0.01
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeInt, model_validator

from edge.config import AROUND_STEP_2, RECIPE, Config, Section, checked, merge, parse, read_toml, recipe_of
from edge.images.local_images import LocalImages
from edge.methods import check_images, check_response
from edge.presets import named
from shared.errors import InvalidConfig

AXES = ("dataset", "budget", "response", "student", "seed")
"""Fields of the config that are axes of the grid."""
VARIANT_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
"""As folders and keys are named."""


class Sweep(Section):
    """The axes of the grid, and what all cells have in common."""

    methods: list[str] = Field(min_length=1)
    """Names of presets and variants."""
    budgets: list[int] = Field(default=[1000], min_length=1)
    """Queries of a run."""
    responses: list[Literal["soft", "top1"]] = Field(default=["soft"], min_length=1)
    """What is asked of the teacher."""
    datasets: list[str] = Field(default=["digits"], min_length=1)
    """Named datasets."""
    students: list[str] = Field(default=["resnet8"], min_length=1)
    """Architectures."""
    seeds: list[NonNegativeInt] = Field(default=[0], min_length=1)
    """Of every random draw."""
    teachers: dict[str, Path] = Field(default={})
    """By dataset, the checkpoint of a teacher that is served on this machine while the sweep runs."""
    config: dict[str, Any] = Field(default={})
    """Fields of the config, over the datasets' recipes and below the presets."""
    variants: dict[Annotated[str, Field(pattern=VARIANT_NAME)], dict[str, Any]] = Field(default={})
    """By name, the `preset` that it is and the fields of the config that it changes."""

    @model_validator(mode="after")
    def _axes_are_no_settings(self) -> Self:
        for section in (self.config, *self.variants.values()):
            if axes := sorted(section.keys() & set(AXES)):
                raise ValueError(f"'{axes[0]}' is an axis of the grid: write it as {axes[0]}s = [...], at the top")
        return self


@dataclass(frozen=True)
class Cell:
    """One student to be made."""

    method: str
    dataset: str
    student: str
    response: str
    budget: int
    seed: int

    @property
    def name(self) -> str:
        """Of its folder, below the sweep's."""
        return f"{self.dataset}/{self.student}/{self.method}-{self.response}-{self.budget}-{self.seed}"


def read_sweep(file: Path | None, flags: dict[str, Any]) -> Sweep:
    """The sweep of a TOML file, changed by flags.

    Raises:
        InvalidConfig: unreadable file, unknown name, or a value out of range; names the field.
    """
    return checked(Sweep, merge(read_toml(file) if file else {}, flags), "Sweep field")


def cells(sweep: Sweep) -> Iterator[Cell]:
    """All of them, the largest budgets first: what they pay for serves the smaller ones."""
    axes = (sweep.datasets, sweep.students, sweep.seeds, sweep.responses, sorted(sweep.budgets, reverse=True))
    for dataset, student, seed, response, budget in itertools.product(*axes):
        for method in sweep.methods:
            yield Cell(method, dataset, student, response, budget, seed)


def config_of(cell: Cell, sweep: Sweep) -> Config:
    """The config of a cell's run.

    Raises:
        InvalidConfig: no such preset, or fields that do not go together; names them.
    """
    changes = dict(sweep.variants.get(cell.method, {"preset": cell.method}))
    preset = changes.pop("preset", None)
    if not isinstance(preset, str):
        raise InvalidConfig(f"Variant '{cell.method}' names no preset. Add the line: preset = \"pool\"")
    asked = {name: getattr(cell, name) for name in AXES}
    return parse(merge(named(preset)(_base(cell.dataset, sweep)).model_dump(), changes | asked))


def track_of(config: Config, sweep: Sweep) -> str:
    """A where the student learns by the recipe that all methods share, B where it has one of its own."""
    shared = _base(config.dataset, sweep)
    same = all(getattr(config, name) == getattr(shared, name) for name in AROUND_STEP_2)
    ours, theirs = config.distillation, shared.distillation
    return "A" if same and all(getattr(ours, name) == getattr(theirs, name) for name in RECIPE) else "B"


def _base(dataset: str, sweep: Sweep) -> Config:
    return parse(merge(recipe_of(dataset).model_dump(), {"dataset": dataset} | sweep.config))


def sorted_out(sweep: Sweep, local: dict[str, LocalImages]) -> tuple[dict[Cell, Config], dict[Cell, str]]:
    """The cells that can be made, with their configs, and those that cannot, with the reason.

    Args:
        sweep: what to compare.
        local: the device's images by dataset.

    Raises:
        InvalidConfig: as `config_of`; what is wrong of a whole method is no matter of a cell.
    """
    possible, refused = {}, {}
    for cell in cells(sweep):
        config = config_of(cell, sweep)
        try:
            check_response(config)
            check_images(config, local[cell.dataset])
        except InvalidConfig as error:
            refused[cell] = str(error)
        else:
            possible[cell] = config
    return possible, refused
