"""Whole methods with their settings, by name: functions that take a dataset's recipe and return a config.

A preset goes over the recipe of the dataset, and below the TOML file and the flags: `--preset official --budget 500`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from edge.config import OFFICIAL, Config, merge, parse
from shared.errors import InvalidConfig


def paper(base: Config) -> Config:
    """The paper's formulas with the paper's weights: alpha 0.5, tau 5, beta 0.5, the image norm a sum over pixels.

    Each image is asked about once, which the paper leaves open; `official` asks afresh at every step.
    """
    formulas = {
        "deprivatization": {"im_weight": 0.5, "im_share": 0.1},
        "distillation": {"image_weight": 1.0, "kl_weight": 0.5, "temperature": 5.0},
    }
    return parse(merge(pool(base).model_dump(), formulas))


def pool(base: Config) -> Config:
    """Every query in one pool that is asked once, and of the terms only KL, or cross-entropy."""
    terms = {
        "deprivatization": {"im_weight": 0.0},
        "distillation": {"image_weight": 0.0, "kl_weight": 1.0, "consistency_weight": 0.0, "drawn_share": 1.0},
    }
    return parse(merge(base.model_dump(), terms))


def lq(base: Config) -> Config:
    """MEKD-LQ, for few queries: `pool`, and a student that is consistent on the private images on the device.

    Where the recipe of the dataset says so, classes that the generator makes seldom are looked after.
    """
    additions = {"consistency_weight": 1.0, "drawn_share": base.distillation.drawn_share}
    return parse(merge(pool(base).model_dump(), {"distillation": additions}))


def official(base: Config) -> Config:
    """The released code's algorithm and settings, see `edge.official`, at the budget of `base`.

    `im_share` is the share of its queries that the released run spends in step 1: 1.2 of 16.56 million. How long the
    GAN learns stays as in `base`; the released run takes 200 passes over the local images.
    """
    released = {
        "method": OFFICIAL,
        "deprivatization": {
            "batch": 64,
            "learning_rate": 2e-4,
            "beta1": 0.5,
            "width": 128,
            "average": 0.0,
            "im_weight": 0.5,
            "im_share": 0.0725,
        },
        "distillation": {
            "batch": 128,
            "optimizer": "sgd",
            "learning_rate": 0.1,
            "weight_decay": 5e-4,
            "temperature": 5.0,
            "image_weight": 1.0,
            "kl_weight": 1.0,
            "label_smoothing": 0.0,
            "consistency_weight": 0.0,
            "drawn_share": 1.0,
        },
    }
    return parse(merge(base.model_dump(), released))


RIVALS = ("kd", "ml", "al", "dkd", "kn", "am", "dafl-proxy", "db3kd", "noise", "augmented")
"""Methods that are no MEKD, see `edge.methods`; the last two are controls."""


def rival(method: str, base: Config) -> Config:
    """A rival with the student's recipe of `base`, so that it differs from `pool` by the method alone."""
    return parse(merge(pool(base).model_dump(), {"method": method}))


def own_rival(method: str, base: Config) -> Config:
    """A rival with its own recipe after the code released with MEKD, for as many updates as in `base`.

    SGD, and no changed copies of what was asked about. Not as there: batches are of 128 for all, where AM's have
    1,000; AL's KL counts tau^2 times beside its other term, where it counts tau times there; and DAFL's student is
    updated by AdamW without decay, there by Adam with a constant rate. Knockoff Nets has no preset of its own, since
    the released one is KD with images picked at random: `kd-own`.
    """
    step = {"optimizer": "sgd", "learning_rate": 0.1, "weight_decay": 5e-4, "batch": 128, "tilt": 0.0}
    step |= {"temperature": 5.0, "label_smoothing": 0.0} | OWN_SETTINGS[method]
    released = {"shift": 0, "flip": False, "distillation": step}
    return parse(merge(rival(method, base).model_dump(), released))


OWN = "-own"
"""Ending of the names of presets with a rival's own recipe."""
OWN_SETTINGS: dict[str, dict[str, Any]] = {
    "kd": {"kl_weight": 1 / 5},
    "ml": {},
    "al": {"temperature": 2.0},
    "dkd": {"kl_weight": 1 / 5},
    "am": {"learning_rate": 0.01, "temperature": 1.0},
    "dafl-proxy": {"optimizer": "adamw", "learning_rate": 2e-3, "weight_decay": 0.0, "temperature": 1.0},
    "db3kd": {"temperature": 20.0, "kl_weight": 128 / 20**2},
}
"""Of the methods that the released code has: what differs from SGD from 0.1 at temperature 5. Our KL counts tau^2
times, after Hinton; there it counts tau times, and in DB3KD once but as a sum over a batch of 128: hence weights."""

Preset = Callable[[Config], Config]
PRESETS: dict[str, Preset] = {
    "paper": paper,
    "official": official,
    "pool": pool,
    "lq": lq,
    **{method: partial(rival, method) for method in RIVALS},
    **{method + OWN: partial(own_rival, method) for method in OWN_SETTINGS},
}


def named(name: str) -> Preset:
    """The preset of that name.

    Raises:
        InvalidConfig: there is none.
    """
    if name not in PRESETS:
        raise InvalidConfig(f"There is no preset '{name}'. Known: {', '.join(PRESETS)}.")
    return PRESETS[name]
