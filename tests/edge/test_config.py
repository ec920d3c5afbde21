import ast
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from edge import config
from edge.config import Config, Deprivatization, Distillation, merge, parse, resolve
from edge.presets import paper
from shared import datasets
from shared.errors import InvalidConfig


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "run.toml"


def test_nothing_given_is_the_recipe_of_digits() -> None:
    assert resolve(None, {}) == config.digits() == Config()


def test_flags_go_before_the_file_and_the_file_before_the_recipe(file: Path) -> None:
    file.write_text("dataset = 'mnist'\nbudget = 5000\nseed = 4\n[distillation]\ntemperature = 3\nbatch = 32\n")
    resolved = resolve(file, {"budget": 700, "distillation": {"batch": 16}})
    assert resolved == parse(
        merge(
            config.mnist().model_dump(),
            {"budget": 700, "seed": 4, "distillation": {"temperature": 3.0, "batch": 16}},
        )
    )
    assert resolved.deprivatization == config.mnist().deprivatization != Deprivatization()


def test_a_flag_chooses_the_recipe_too(file: Path) -> None:
    file.write_text("dataset = 'mnist'\n")
    assert resolve(file, {"dataset": "digits"}) == config.digits()
    assert resolve(None, {"dataset": "mnist"}) == config.mnist()


def test_a_folder_has_mnists_settings() -> None:
    assert resolve(None, {"dataset": "folder", "classes": 3}) == parse(
        merge(config.mnist().model_dump(), {"dataset": "folder", "classes": 3})
    )


@pytest.mark.parametrize("name", sorted(datasets.LOADERS.keys() - config.RECIPES.keys()))
def test_a_dataset_without_a_recipe_has_mnists_and_only_digits_are_turned(name: str) -> None:
    made, mnist = resolve(None, {"dataset": name}), config.mnist()
    tilt = 10.0 if "digits" in name or name == "svhn" else 0.0
    assert made == parse(merge(mnist.model_dump(), {"dataset": name, "distillation": {"tilt": tilt}}))


def test_classes_are_for_a_folder_only() -> None:
    with pytest.raises(InvalidConfig, match="classes is for a folder of images; 'mnist' knows its own"):
        resolve(None, {"dataset": "mnist", "classes": 10})


def test_merging_changes_neither_side() -> None:
    base, changes = {"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}
    assert merge(base, changes) == {"a": {"b": 3, "c": 2}}
    assert (base, changes) == ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}})


@pytest.mark.parametrize("field", ["bugdet", "distillation.steeps", "deprivatization.alpha"])
def test_an_unknown_field_is_named(field: str) -> None:
    with pytest.raises(InvalidConfig, match=f"Config field '{re.escape(field)}'"):
        resolve(None, nested(field, 1))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("budget", 1),
        ("budget", "many"),
        ("response", "hard"),
        ("seed", -1),
        ("request", 0),
        ("dataset", ["digits"]),
        ("dataset", 3),
        ("distillation", 5),
        ("distillation.steps", 0),
        ("distillation.batch", 1),
        ("distillation.temperature", 0.0),
        ("distillation.temperature", float("nan")),
        ("distillation.image_weight", float("inf")),
        ("distillation.kl_weight", -0.1),
        ("distillation.held_out", 0.5),
        ("distillation.held_out", 0),
        ("distillation.label_smoothing", 1),
        ("classes", 1),
        ("shift", -1),
        ("deprivatization.im_share", 1),
        ("deprivatization.im_rounds", 0),
        ("deprivatization.average", 1),
        ("deprivatization.width", 7),
    ],
)
def test_a_value_out_of_range_is_named_and_shown(field: str, value: Any) -> None:
    with pytest.raises(InvalidConfig) as caught:
        resolve(None, nested(field, value))
    assert f"'{field}'" in str(caught.value) and repr(value) in str(caught.value)


def test_a_student_with_nothing_to_learn_from_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="image_weight and kl_weight are both 0"):
        resolve(None, {"distillation": {"image_weight": 0, "kl_weight": 0}})
    for weights in ({"image_weight": 0, "kl_weight": 1}, {"image_weight": 1, "kl_weight": 0}):
        assert weights.items() <= resolve(None, {"distillation": weights}).model_dump()["distillation"].items()


@pytest.mark.parametrize("content", [b"budget = ", b"[distillation", b"budget 5", b"\xff\xfe"])
def test_a_file_that_is_not_toml_is_named(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(InvalidConfig, match=r"run\.toml is not TOML"):
        resolve(file, {})


def test_a_file_that_cannot_be_read_is_named(file: Path, tmp_path: Path) -> None:
    for unreadable in (file, tmp_path):
        with pytest.raises(InvalidConfig, match=f"{unreadable.name} cannot be read"):
            resolve(unreadable, {})


@pytest.mark.parametrize(
    ("changes", "queries"),
    [
        ({}, 200),
        ({"budget": 1001, "deprivatization": {"im_share": 0.25}}, 250),
        ({"response": "top1"}, 0),
        ({"deprivatization": {"im_weight": 0}}, 0),
        ({"deprivatization": {"im_share": 0}}, 0),
    ],
)
def test_only_soft_answers_with_a_weight_are_asked_for_in_step_1(changes: dict[str, Any], queries: int) -> None:
    assert resolve(None, changes, paper).im_queries == queries


def test_a_config_cannot_be_changed_and_survives_json() -> None:
    made = resolve(None, {"distillation": {"temperature": 0.1}})
    assert Config.model_validate_json(made.model_dump_json()) == made
    with pytest.raises(ValueError, match="frozen"):
        made.budget = 5  # type: ignore[misc]


@pytest.mark.parametrize("section", [Config, Deprivatization, Distillation])
def test_every_field_says_what_it_is(section: type[BaseModel]) -> None:
    (definition,) = ast.parse(inspect.getsource(section)).body
    assert isinstance(definition, ast.ClassDef)
    explained = {
        field.target.id
        for field, below in zip(definition.body, definition.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
    }
    assert explained == set(section.model_fields) and explained


def nested(field: str, value: Any) -> dict[str, Any]:
    name, _, below = field.partition(".")
    return {name: nested(below, value) if below else value}
