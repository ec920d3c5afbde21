"""The grid of a sweep, and which of its cells share what one of them pays for."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.config import Config
from edge.images.local_images import LocalImages
from edge.methods import METHODS, method_of
from edge.presets import PRESETS, lq, pool
from edge.sweep.grid import Cell, Sweep, cells, config_of, read_sweep, sorted_out, track_of
from edge.sweep.jobs import Job, generators, plan_jobs
from shared.errors import InvalidConfig
from tests.edge.small import digits

LOCAL: dict[str, LocalImages] = {"digits": digits()}
BALANCED = {"balanced": {"preset": "lq", "distillation": {"drawn_share": 0.4}}}


def jobs_of(**axes: Any) -> dict[str, Job]:
    """By method, response and budget."""
    possible, _ = sorted_out(Sweep(**axes), LOCAL)
    jobs = plan_jobs(possible, LOCAL)
    return {f"{job.cell.method} {job.cell.response} {job.cell.budget} {job.cell.seed}": job for job in jobs}


def test_every_method_meets_every_budget_response_student_and_seed() -> None:
    sweep = Sweep(methods=["pool", "kd"], budgets=[10, 20], responses=["soft", "top1"], seeds=[3, 5])
    found = list(cells(sweep))
    assert len(found) == len(set(found)) == 2 * 2 * 2 * 2
    assert Cell("kd", "digits", "resnet8", "top1", 20, 5) in found
    assert len({cell.name for cell in found}) == 16


def test_a_variant_is_a_preset_with_other_settings_over_the_recipe(tmp_path: Path) -> None:
    (file := tmp_path / "sweep.toml").write_text(
        "methods = ['both', 'lq']\n[config.distillation]\nsteps = 77\n"
        "[variants.both]\npreset = 'pool'\ndistillation.image_weight = 0.5\n"
    )
    sweep = read_sweep(file, {"budgets": [30]})
    cell = Cell("both", "digits", "resnet20", "top1", 30, 4)
    config = config_of(cell, sweep)
    assert (config.budget, config.response, config.student, config.seed) == (30, "top1", "resnet20", 4)
    assert (config.distillation.steps, config.distillation.image_weight) == (77, 0.5)
    same = config.model_copy(update={"distillation": config.distillation.model_copy(update={"image_weight": 0.0})})
    base = Config(budget=30, response="top1", student="resnet20", seed=4)
    steps = base.model_copy(update={"distillation": base.distillation.model_copy(update={"steps": 77})})
    assert same == pool(steps)
    assert config_of(Cell("lq", "digits", "resnet8", "soft", 30, 0), sweep) == lq(
        steps.model_copy(update={"response": "soft", "student": "resnet8", "seed": 0})
    )


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("methods = ['pol']", "no preset 'pol'"),
        ("methods = []", "Sweep field 'methods'"),
        ("methods = ['pool']\nbudget = [3]", "Sweep field 'budget'"),
        ("methods = ['x']\n[variants.x]\nshift = 3", "'x' names no preset"),
        ("methods = ['x']\n[variants.x]\npreset = 'pool'\nstep = 3", "'step'"),
        ("methods = ['pool']\n[config.distillation]\nsteps = 0", "'distillation.steps'"),
        ("methods = ['pool']\n[config]\ndataset = 'mnist'", "'dataset' is an axis of the grid: write it as datasets"),
        ("methods = ['x/y']\n[variants.'x/y']\npreset = 'pool'", "should match pattern"),
    ],
)
def test_a_mistake_is_named_before_anything_begins(document: str, message: str, tmp_path: Path) -> None:
    (file := tmp_path / "sweep.toml").write_text(document)
    with pytest.raises(InvalidConfig, match=message):
        sorted_out(read_sweep(file, {}), LOCAL)


def test_cells_that_cannot_be_made_are_left_out_with_the_reason() -> None:
    sweep = Sweep(methods=["kd", "dkd", "pool"], budgets=[100, 600], responses=["soft", "top1"])
    possible, refused = sorted_out(sweep, LOCAL)
    assert len(possible) + len(refused) == 12
    reasons = {(cell.method, cell.response, cell.budget): reason for cell, reason in refused.items()}
    assert set(reasons) == {
        ("kd", "soft", 600),
        ("kd", "top1", 600),
        ("dkd", "soft", 600),
        ("dkd", "top1", 100),
        ("dkd", "top1", 600),
    }
    assert "500 questions, each of them once, and 600 are" in reasons["kd", "soft", 600]
    assert "top1" in reasons["dkd", "top1", 100]


def test_what_asks_the_same_is_asked_once_with_the_largest_budget_and_soft_answers() -> None:
    jobs = jobs_of(
        methods=["kd", "ml", "dkd-own", "pool", "noise"], budgets=[50, 200], responses=["soft", "top1"], seeds=[0, 1]
    )
    leaders = {name for name, job in jobs.items() if job.leader is None}
    assert len(leaders) == 6 and {name.split(" ", 1)[1] for name in leaders} == {"soft 200 0", "soft 200 1"}
    assert jobs["dkd-own soft 50 1"].leader == jobs["ml soft 200 1"].leader
    leader = jobs["pool top1 50 0"].leader
    assert leader is not None and (leader.method, leader.seed) == ("pool", 0)
    assert sum(job.queries_paid for job in jobs.values()) == 6 * 200


def test_what_a_leader_may_change_in_training_is_known_to_those_that_learn_from_it() -> None:
    """A run with own settings notes those, and a replay without any would take them for the dataset's."""
    jobs = jobs_of(methods=["kd-own", "ml"], budgets=[50])
    assert jobs["ml soft 50 0"].leader is None and jobs["kd-own soft 50 0"].leader == jobs["ml soft 50 0"].cell


def test_a_generator_that_saw_other_changes_makes_other_images() -> None:
    variants = {"still": {"preset": "pool", "shift": 0}, "mirrored": {"preset": "kd", "flip": True}}
    jobs = jobs_of(methods=["still", "pool", "mirrored", "kd"], budgets=[50], variants=variants)
    assert {name for name, job in jobs.items() if job.leader} == {"mirrored soft 50 0"}
    assert jobs["still soft 50 0"].generator != jobs["pool soft 50 0"].generator


def test_what_was_made_before_leads_those_that_are_new() -> None:
    sweep = Sweep(methods=["dkd", "kd"], budgets=[50])
    possible, _ = sorted_out(sweep, LOCAL)
    kd = {"digits/resnet8/kd-soft-50-0"}
    assert [job.cell.method for job in plan_jobs(possible, LOCAL, kd, kd) if job.leader is None] == ["kd"]


def test_a_row_without_its_run_leads_nobody() -> None:
    possible, _ = sorted_out(Sweep(methods=["dkd", "kd"], budgets=[50, 100], responses=["soft", "top1"]), LOCAL)
    made = {f"digits/resnet8/{name}-0" for name in ("kd-soft-50", "kd-soft-100", "dkd-soft-100")}

    def payers_of_what_is_open(*asked: str) -> set[str]:
        paid = {f"digits/resnet8/{name}-0" for name in asked}
        jobs = [job for job in plan_jobs(possible, LOCAL, made, paid) if job.cell.name not in made]
        assert {job.cell.name for job in jobs} == {cell.name for cell in possible} - made
        return {(job.leader or job.cell).name.removeprefix("digits/resnet8/") for job in jobs}

    assert payers_of_what_is_open("kd-soft-100") == {"kd-soft-100-0"}
    assert payers_of_what_is_open("kd-soft-50") == {"kd-soft-50-0", "kd-top1-100-0"}
    assert payers_of_what_is_open() == {"dkd-soft-50-0", "kd-top1-100-0"}


def test_what_is_asking_goes_on_asking_and_leads_if_it_can() -> None:
    sweep = Sweep(methods=["ml", "kd"], budgets=[50])
    possible, _ = sorted_out(sweep, LOCAL)
    jobs = plan_jobs(possible, LOCAL, asked={"digits/resnet8/kd-soft-50-0"})
    assert [job.cell.method for job in jobs if job.leader is None] == ["kd"]
    possible, _ = sorted_out(Sweep(methods=["ml", "kd"], budgets=[50, 100]), LOCAL)
    jobs = plan_jobs(possible, LOCAL, asked={"digits/resnet8/kd-soft-50-0"})
    assert {job.cell.name for job in jobs if job.leader is None} == {
        "digits/resnet8/ml-soft-100-0", "digits/resnet8/kd-soft-50-0"
    }  # fmt: skip


def test_in_a_grid_that_has_grown_the_larger_goes_on_from_what_the_smaller_has_paid_for() -> None:
    sweep = Sweep(methods=["ml", "kd"], budgets=[50, 100, 400], responses=["soft", "top1"])
    possible, _ = sorted_out(sweep, LOCAL)
    made = {f"digits/resnet8/{name}-0" for name in ("kd-soft-50", "kd-soft-100", "ml-soft-50", "kd-top1-100")}
    paid = {"digits/resnet8/kd-soft-50-0", "digits/resnet8/kd-soft-100-0"}
    jobs = [job for job in plan_jobs(possible, LOCAL, made, paid) if job.leader is None]
    assert [(job.cell.name, job.known and job.known.name, job.queries_paid) for job in jobs] == [
        ("digits/resnet8/ml-soft-400-0", "digits/resnet8/kd-soft-100-0", 300)
    ]


def test_classes_alone_are_no_beginning_of_soft_answers() -> None:
    possible, _ = sorted_out(Sweep(methods=["kd"], budgets=[50, 400], responses=["soft", "top1"]), LOCAL)
    paid = {"digits/resnet8/kd-top1-50-0"}
    (leader,) = [job for job in plan_jobs(possible, LOCAL, paid, paid) if job.leader is None]
    assert leader.cell.response == "soft" and leader.known is None and leader.queries_paid == 400


def test_copies_that_may_be_equal_are_not_cut_by_their_number() -> None:
    jobs = jobs_of(methods=["augmented"], budgets=[400, 600, 1000], responses=["soft", "top1"])
    assert {name for name, job in jobs.items() if job.leader} == {"augmented top1 400 0"}


@pytest.mark.parametrize(
    ("method", "track"),
    [("pool", "A"), ("paper", "A"), ("lq", "A"), ("kd", "A"), ("kd-own", "B"), ("official", "B"), ("fast", "B")],
)
def test_a_student_with_a_recipe_of_its_own_is_on_another_track(method: str, track: str) -> None:
    variants = {"fast": {"preset": "pool", "distillation": {"learning_rate": 0.1}}}
    sweep = Sweep(methods=[method], budgets=[90], variants=variants, config={"distillation": {"steps": 77}})
    ((_, config),) = sorted_out(sweep, LOCAL)[0].items()
    assert track_of(config, sweep) == track and config.distillation.steps == 77


def test_questions_that_depend_on_answers_or_on_the_budget_are_asked_by_each_for_itself() -> None:
    methods = ["balanced", "am", "dafl-proxy", "official", "paper"]
    jobs = jobs_of(methods=methods, budgets=[50, 200], responses=["soft", "top1"], variants=BALANCED)
    alone = {name for name, job in jobs.items() if job.leader is None}
    # Of `paper`, top-1 answers leave step 1 without a query; so these two ask the same.
    assert set(jobs) - alone == {"paper top1 50 0"}
    assert jobs_of(methods=["db3kd"], budgets=[200], responses=["top1"])["db3kd top1 200 0"].leader is None


def test_changed_copies_are_shared_only_where_they_are_changed_in_the_same_way() -> None:
    variants = {"still": {"preset": "augmented", "shift": 0}}
    jobs = jobs_of(methods=["augmented", "still"], budgets=[50, 200], variants=variants)
    assert {job.leader.method for job in jobs.values() if job.leader} == {"augmented", "still"}
    assert sum(job.leader is None for job in jobs.values()) == 2


def test_runs_with_the_same_step_1_share_a_generator_which_pays_nothing() -> None:
    methods = ["pool", "lq", "balanced", "official", "kd", "paper"]
    jobs = jobs_of(methods=methods, budgets=[50, 200], seeds=[0, 1], variants=BALANCED)
    given_one = {name for name, job in jobs.items() if job.generator}
    assert given_one == {
        f"{method} soft {budget} {seed}"
        for method, budget in (("pool", 200), ("lq", 50), ("lq", 200), ("balanced", 50), ("balanced", 200))
        for seed in (0, 1)
    }
    assert len(generators(jobs.values())) == 2


@settings(deadline=None, max_examples=30)
@given(
    methods=st.lists(st.sampled_from(sorted(PRESETS)), min_size=1, max_size=6, unique=True),
    budgets=st.lists(st.integers(2, 700), min_size=1, max_size=3, unique=True),
    responses=st.sampled_from([["soft"], ["top1"], ["soft", "top1"]]),
    data=st.data(),
)
def test_whoever_learns_from_another_finds_enough_answers_of_its_kind_there(
    methods: list[str], budgets: list[int], responses: list[str], data: st.DataObject
) -> None:
    try:
        possible, _ = sorted_out(Sweep(methods=methods, budgets=budgets, responses=responses), LOCAL)
    except InvalidConfig:  # `official` needs two queries of step 2
        return
    some = st.sets(st.sampled_from([cell.name for cell in possible] or [""]))
    made, asked = data.draw(some, "made"), data.draw(some, "asked")
    by_cell = {job.cell: job for job in plan_jobs(possible, LOCAL, made, asked)}
    assert by_cell.keys() == possible.keys()
    for job in by_cell.values():
        if job.leader is None:
            continue
        leader = by_cell[job.leader]
        assert leader.cell.name in asked or (leader.leader is None and leader.cell.name not in made)
        assert leader.config.budget >= job.config.budget
        assert leader.cell.response == "soft" or job.cell.response == "top1"
        assert (leader.cell.seed, leader.cell.dataset) == (job.cell.seed, job.cell.dataset)
        assert method_of(leader.config).questions == method_of(job.config).questions
        assert METHODS[job.config.method].replayed
