"""Everything that decides what a run computes, as frozen models with a docstring per field.

A run folder keeps its `Config`; the same config, seed and answers give the same student. What does not change the
student (the server's address, the key, the folder) is not in here.
"""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.errors import InvalidConfig


class Section(BaseModel):
    """Frozen; unknown names and numbers that JSON does not know are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


AnySection = TypeVar("AnySection", bound=Section)


FOLDER = "folder"
"""In place of a dataset's name: a folder of the device's own images."""
MEKD: Final = "mekd"
"""The method."""
OFFICIAL: Final = "mekd-official"
"""The method of the released code."""


RECIPE = ("optimizer", "learning_rate", "weight_decay", "steps", "batch", "temperature", "label_smoothing", "tilt")
"""Fields of step 2 that make a student's recipe, with those of the config in `AROUND_STEP_2`."""
AROUND_STEP_2 = ("shift", "flip")


class Deprivatization(Section):
    """Step 1: the GAN that learns to emulate the inverse of the teacher's mapping."""

    steps: int = Field(default=1200, ge=1)
    """Generator updates."""
    batch: int = Field(default=64, ge=2)
    """Images per update."""
    learning_rate: float = Field(default=4e-4, gt=0)
    """Adam's, for both networks."""
    beta1: float = Field(default=0.0, ge=0, lt=1)
    """Adam's first-moment decay."""
    width: int = Field(default=64, ge=8)
    """Channels of the generator's first layers."""
    average: float = Field(default=0.99, ge=0, lt=1)
    """Decay of the generator's moving average."""
    im_weight: float = Field(default=0.0, ge=0)
    """alpha of L_dp = L_G + L_D + alpha L_IM; 0 switches the term and its queries off."""
    im_share: float = Field(default=0.1, ge=0, lt=1)
    """Share of the budget asked in step 1 for the confidences y_T; top-1 answers need none (y_T = 1)."""
    im_rounds: int = Field(default=2, ge=1)
    """In how many parts y_T is asked, each for latents of its own; spread over the second half of the steps."""


class Distillation(Section):
    """Step 2: the student's logits aligned with the teacher's through the frozen generator."""

    steps: int = Field(default=2000, ge=1)
    """Student updates."""
    batch: int = Field(default=64, ge=2)
    """Stored pairs per update."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """`adamw`, warmed up, then on half a cosine; `sgd` with momentum 0.9, a tenth after each third of the steps."""
    learning_rate: float = Field(default=8e-3, gt=0)
    """The optimiser's peak."""
    weight_decay: float = Field(default=0.05, ge=0)
    """The optimiser's; AdamW's is decoupled."""
    temperature: float = Field(default=5.0, gt=0)
    """tau of both terms."""
    image_weight: float = Field(default=0.0, ge=0)
    """Weight of the image term, whose norm is a sum over pixels; 0 switches it off."""
    kl_weight: float = Field(default=1.0, ge=0)
    """beta: weight of the KL term (cross-entropy for top-1 answers); 0 switches it off."""
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    """Of the cross-entropy on top-1 answers."""
    drawn_share: float = Field(default=0.8, gt=0, le=1)
    """Share of the pool that is asked about as the generator makes it. The rest is too, unless these answers show a
    class with fewer than half of an equal share: then an early student of them chooses what fills it up. 1 chooses
    nothing."""
    tilt: float = Field(default=0.0, ge=0, le=90)
    """Degrees by which an asked image may be turned while its answer stays true, and hundredths by which it may be
    stretched and sheared. 0 for images of a few pixels."""
    consistency_weight: float = Field(default=1.0, ge=0)
    """Weight of the term that learns from the private images on the device; 0 switches it off."""
    consistency_threshold: float = Field(default=0.9, gt=0, le=1)
    """How sure the averaged student has to be of a private image: its probability as a share of 1 or, with smoothed
    labels, of the 1 - s + s / K that they teach."""
    consistency_tilt: float = Field(default=30.0, ge=0, le=90)
    """As `tilt`, of the changed copy of a private image. It may be more, because a copy of an asked image has to keep
    the teacher's whole answer, and this one only the class."""
    consistency_strong: bool = False
    """Whether that copy also gets other colours and a grey square, as photographs can bear it."""
    average: float = Field(default=0.99, ge=0, lt=1)
    """Decay of the averaged student."""
    held_out: float = Field(default=0.1, gt=0, lt=0.5)
    """Share of the answers that select the student and never train it."""
    evaluate_every: int = Field(default=100, ge=1)
    """Updates between two looks at the held-out answers."""

    @model_validator(mode="after")
    def _something_to_learn_from(self) -> Self:
        if self.image_weight == 0 and self.kl_weight == 0:
            raise ValueError("image_weight and kl_weight are both 0, so nothing would be learnt: raise one of them")
        return self


class Config(Section):
    """One run."""

    method: Literal[
        "mekd",
        "mekd-official",
        "kd",
        "ml",
        "al",
        "dkd",
        "kn",
        "am",
        "dafl-proxy",
        "db3kd",
        "noise",
        "augmented",
    ] = "mekd"
    """`mekd`; `mekd-official`: the released code's algorithm with its faults, see `edge.official`, which passes over
    the fields that it does not know and updates the student as often as the budget pays for a fresh batch; or one of
    the rivals and controls, see `edge.methods`, which have no step 1."""
    dataset: str = "digits"
    """Where the edge's unlabelled images come from: a name of `shared.datasets`, or `folder`."""
    classes: int | None = Field(default=None, ge=2)
    """Classes that the teacher knows; only for a folder, and only where the server does not say."""
    shift: int | None = Field(default=None, ge=0)
    """Pixels by which training may move an image without changing its class; None leaves it to the dataset, and is a
    sixteenth of the shorter side for a folder."""
    flip: bool | None = None
    """Whether training may swap left and right; None leaves it to the dataset, and does not of a folder."""
    response: Literal["soft", "top1"] = "soft"
    """What is asked of the teacher: its logits or probabilities, or its class alone."""
    budget: int = Field(default=2000, ge=2)
    """Queries of all stages together, held-out answers included; 1 image is 1 query."""
    student: str = "resnet8"
    """Architecture of the student; see `shared.architectures`."""
    seed: int = Field(default=0, ge=0)
    """Decides every random draw of the run."""
    request: int = Field(default=250, ge=1)
    """Images per request, at most; the server may allow less."""
    deprivatization: Deprivatization = Deprivatization()
    """Step 1."""
    distillation: Distillation = Distillation()
    """Step 2."""

    @model_validator(mode="after")
    def _classes_of_a_folder(self) -> Self:
        if self.classes is not None and self.dataset != FOLDER:
            raise ValueError(f"classes is for a folder of images; '{self.dataset}' knows its own")
        return self

    @model_validator(mode="after")
    def _a_batch_for_step_2(self) -> Self:
        if self.method == OFFICIAL and self.budget - self.im_queries < 2:
            raise ValueError(
                f"step 1 would ask {self.im_queries} of {self.budget} queries, and step 2 needs 2 or more: lower "
                "deprivatization.im_share, or raise budget"
            )
        return self

    @model_validator(mode="after")
    def _no_image_term_without_a_generator(self) -> Self:
        if not self.has_step_1 and self.distillation.image_weight > 0:
            raise ValueError(
                f"method '{self.method}' has no generator, which the image term needs: set image_weight to 0"
            )
        return self

    @property
    def has_step_1(self) -> bool:
        """Whether a generator learns from the private images first."""
        return self.method in (MEKD, OFFICIAL)

    @property
    def im_queries(self) -> int:
        """Queries of step 1."""
        step = self.deprivatization
        wanted = round(step.im_share * self.budget) if step.im_weight > 0 and self.has_step_1 else 0
        if self.method == OFFICIAL:  # asks for top-1 answers too, and at every step about its batch at most
            return min(wanted, step.steps * step.batch)
        return wanted if self.response == "soft" else 0


def digits() -> Config:
    """8x8 digits on two cores, about two minutes."""
    return Config()


def mnist() -> Config:
    """32x32 MNIST with 6,000 local images."""
    return Config(
        dataset="mnist",
        budget=10_000,
        deprivatization=Deprivatization(steps=1500),
        distillation=Distillation(
            steps=3000, batch=32, evaluate_every=200, drawn_share=1.0, tilt=10.0, consistency_tilt=10.0
        ),
    )


def cifar10() -> Config:
    """CIFAR-10 with 5,000 local images, on a GPU: a student takes minutes there, and on two cores many hours."""
    return Config(
        dataset="cifar10",
        student="resnet20",
        budget=10_000,
        deprivatization=Deprivatization(steps=24_000, width=128, average=0.999),
        distillation=Distillation(steps=12_000, batch=128, evaluate_every=500, consistency_strong=True),
    )


def folder() -> Config:
    """Own images of any size: MNIST's settings, for which two cores are enough."""
    return Config.model_validate(mnist().model_dump() | {"dataset": FOLDER})


RECIPES = {"digits": digits, "mnist": mnist, "cifar10": cifar10, FOLDER: folder}
TILTED = ("synthetic-digits", "synthetic-digits-grey", "svhn")
"""Datasets whose images are digits of MNIST's size, which may be turned as MNIST's may."""


def recipe_of(dataset: str) -> Config:
    """The recipe of a named dataset, or of a folder.

    One that has none of its own takes MNIST's, for which two cores are enough. Of photographs only the private ones
    are turned.
    """
    if dataset in RECIPES:
        return RECIPES[dataset]()
    recipe = mnist()
    tilt = recipe.distillation.tilt if dataset in TILTED else 0.0
    return parse(merge(recipe.model_dump(), {"dataset": dataset, "distillation": {"tilt": tilt}}))


def resolve(file: Path | None, flags: dict[str, Any], preset: Callable[[Config], Config] | None = None) -> Config:
    """The dataset's recipe, changed by a preset, by a TOML file, and by flags; nested sections are merged.

    Raises:
        InvalidConfig: unreadable file, unknown name, or a value out of range; names the field.
    """
    changes = merge(read_toml(file) if file else {}, flags)
    recipe = recipe_of(str(changes.get("dataset", "digits")))
    base = preset(recipe) if preset else recipe
    return parse(merge(base.model_dump(), changes))


def parse(document: dict[str, Any]) -> Config:
    """Check a whole config.

    Raises:
        InvalidConfig: names the first field that is wrong.
    """
    return checked(Config, document, "Config field")


def checked(kind: type[AnySection], document: dict[str, Any], field: str) -> AnySection:
    """The section that `document` describes; `field` is what a message calls a part of it.

    Raises:
        InvalidConfig: names the first field that is wrong.
    """
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        given = "" if isinstance(first["input"], dict) else f" (given: {first['input']!r})"
        raise InvalidConfig(f"{field} '{name}': {first['msg'].removeprefix('Value error, ')}{given}.") from None


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes` on top, sections merged field by field."""
    merged = dict(base)
    for name, value in changes.items():
        below = merged.get(name)
        merged[name] = merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def read_toml(file: Path) -> dict[str, Any]:
    """What is in `file`.

    Raises:
        InvalidConfig: it cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(file.read_text())
    except OSError as error:
        raise InvalidConfig(f"The config file {file} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidConfig(f"The config file {file} is not TOML: {error}.") from None
