import itertools

import torch

from shared.seeding import rng, seed_dropout, seed_initial_weights


def draw(seed: int, *place: str | int) -> list[float]:
    return torch.rand(4, generator=rng(seed, *place)).tolist()


def test_the_same_address_gives_the_same_numbers_whatever_ran_before() -> None:
    first = draw(7, "stage", 3)
    torch.manual_seed(99)
    draw(7, "stage", 4)
    assert draw(7, "stage", 3) == first


def test_every_address_has_numbers_of_its_own() -> None:
    places: list[tuple[str | int, ...]] = [(), ("a",), ("a", 1), ("a", 2), ("a1",), ("b", 1), (1,), ("1",)]
    draws = [draw(seed, *place) for seed in (0, 1) for place in places]
    assert all(one != other for one, other in itertools.combinations(draws, 2))


def test_numbers_are_pinned_so_that_a_published_seed_keeps_its_meaning() -> None:
    assert rng(0).initial_seed() == 5254295370254170289
    assert rng(0, "deprivatization", 5).initial_seed() == 1729729804108099596


def test_initial_weights_follow_the_address() -> None:
    weights = []
    for place in ("student", "student", "generator"):
        seed_initial_weights(0, place)
        weights.append(torch.nn.Linear(3, 3).weight.detach())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_dropout_follows_the_address_and_is_not_that_of_the_steps_other_draws() -> None:
    dropped = []
    for step in (3, 3, 4):
        seed_dropout(0, "distillation", step)
        dropped.append(torch.nn.functional.dropout(torch.ones(64)))
    assert torch.equal(dropped[0], dropped[1]) and not torch.equal(dropped[0], dropped[2])
    seed_dropout(0, "distillation", 3)
    assert torch.rand(4).tolist() != draw(0, "distillation", 3)


def test_drawing_by_address_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    draw(5, "anything")
    assert torch.equal(torch.rand(1), expected)
