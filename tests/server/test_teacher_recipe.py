from dataclasses import replace

import numpy as np
import pytest

from server.teacher_recipe import recipe_of
from shared import datasets
from shared.datasets import Labelled


@pytest.mark.parametrize(
    ("name", "images", "epochs"), [("x", 897, 40), ("x", 54_000, 3), ("x", 2_000, 18), ("cifar10", 45_000, 300)]
)
def test_the_default_number_of_epochs_follows_the_dataset(name: str, images: int, epochs: int) -> None:
    cloud = Labelled(np.zeros((images, 1, 1, 1), np.uint8), np.zeros(images, np.int64))
    assert recipe_of(replace(datasets.load("digits"), name=name, cloud=cloud)).epochs == epochs
