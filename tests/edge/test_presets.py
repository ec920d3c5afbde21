import re
from pathlib import Path
from typing import Any

import pytest

from edge import config
from edge.commands.run_flags import choose
from edge.config import OFFICIAL, Config, resolve
from edge.presets import PRESETS, Preset, lq, named, official, paper, pool
from shared.errors import InvalidConfig
from tests.edge.test_edge_docs import fields, section


def test_a_preset_goes_over_the_recipe_and_below_the_file_and_the_flags(tmp_path: Path) -> None:
    (file := tmp_path / "run.toml").write_text("dataset = 'mnist'\n[distillation]\nbatch = 32\ntemperature = 3\n")
    resolved = resolve(file, {"distillation": {"temperature": 2.0}}, official)
    assert (resolved.budget, resolved.deprivatization.steps) == (10_000, 1500)  # the recipe of mnist
    assert (resolved.method, resolved.distillation.learning_rate) == (OFFICIAL, 0.1)
    assert (resolved.distillation.batch, resolved.distillation.temperature) == (32, 2.0)
    assert resolve(None, {}, official) == official(config.digits())


def test_the_flag_chooses_a_preset_and_without_it_the_method_is_lq(tmp_path: Path) -> None:
    assert choose(preset="official", budget=500).config == resolve(None, {"budget": 500}, official)
    assert choose().config == Config() == lq(Config())
    with pytest.raises(InvalidConfig, match=r"no preset 'oficial'\. Known: .*official"):
        choose(preset="oficial")


def test_a_file_cannot_name_a_preset(tmp_path: Path) -> None:
    (file := tmp_path / "run.toml").write_text("preset = 'official'\n")
    with pytest.raises(InvalidConfig, match="'preset'"):
        resolve(file, {})


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_makes_a_whole_config_of_every_recipe(name: str) -> None:
    for recipe in config.RECIPES.values():
        made = named(name)(recipe())
        assert (made.dataset, made.budget) == (recipe().dataset, recipe().budget)


@pytest.mark.parametrize("dataset", config.RECIPES)
def test_a_recipe_without_a_preset_is_lq(dataset: str) -> None:
    recipe = config.RECIPES[dataset]()
    assert lq(recipe) == recipe != pool(recipe)


@pytest.mark.parametrize("preset", [paper, pool, lq, official])
def test_what_a_preset_sets_is_told_on_the_edges_page(preset: Preset) -> None:
    (row,) = re.findall(rf"^\| `{preset.__name__}` \|(.*)\|$", section("Presets"), flags=re.MULTILINE)
    ours, default = fields(preset(Config())), fields(Config())
    told = dict(re.findall(r"`([\w.]+)` ([\w.-]+)", row))
    assert told == {field: value for field, value in ours.items() if value != default[field]}


@pytest.mark.parametrize("response", ["soft", "top1"])
@pytest.mark.parametrize(
    ("changes", "queries"),
    [
        ({}, 145),
        ({"budget": 1000}, 72),
        ({"deprivatization": {"im_weight": 0}}, 0),
        ({"deprivatization": {"steps": 2}}, 128),
    ],
)
def test_the_released_method_asks_in_step_1_whatever_the_response(
    response: str, changes: dict[str, Any], queries: int
) -> None:
    assert resolve(None, {"response": response} | changes, official).im_queries == queries


def test_a_budget_that_leaves_step_2_no_batch_is_refused() -> None:
    changes: dict[str, Any] = {"budget": 10, "deprivatization": {"im_share": 0.9}}
    with pytest.raises(InvalidConfig, match=r"step 1 would ask 9 of 10 queries, and step 2 needs 2 or more: lower"):
        resolve(None, changes, official)
    assert resolve(None, changes, paper).im_queries == 9
