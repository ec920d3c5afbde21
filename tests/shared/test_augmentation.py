import torch

from shared import pixels
from shared.augmentation import Augmentation


def some_images() -> torch.Tensor:
    return torch.rand(200, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_without_shift_and_flip_images_stay_as_they_are() -> None:
    assert torch.equal(Augmentation(0)(some_images(), rng()), some_images())


def test_flips_swap_left_and_right_of_about_half_of_the_images_and_change_nothing_else() -> None:
    before = some_images()
    after = Augmentation(0, flip=True)(before, rng())
    flipped = (after == before.flip(3)).flatten(1).all(1)
    assert torch.equal(after[~flipped], before[~flipped])
    assert 70 < int(flipped.sum()) < 130


def test_a_change_is_drawn_from_the_generator_alone() -> None:
    change = Augmentation(2, flip=True)
    one, other, reseeded = (change(some_images(), rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, other) and not torch.equal(one, reseeded)


def test_a_strong_change_comes_after_the_others() -> None:
    change = Augmentation(1, flip=True, tilt=20.0)
    one = rng()
    expected = pixels.cut_out(pixels.recolour(change(some_images(), one), one), one)
    assert torch.equal(change._replace(strong=True)(some_images(), rng()), expected)
