"""The tables of datasets and architectures on the operator's page are true."""

import re

import pytest

from shared import architectures, datasets
from tests.server.test_operator_docs import rows, section


def test_every_dataset_is_told() -> None:
    assert [row[0].strip("`") for row in rows("Datasets")] == list(datasets.LOADERS)


def test_the_sizes_of_digits_are_as_told() -> None:
    told = {row[0].strip("`"): row for row in rows("Datasets")}["digits"]
    dataset = datasets.load("digits")
    parts = (dataset.cloud.images, dataset.edge, dataset.test.images)
    assert told[1:4] == ["x".join(map(str, dataset.image_shape)), "10", " / ".join(str(len(part)) for part in parts)]


def test_every_architecture_is_told() -> None:
    assert [row[0].strip("`") for row in rows("Architectures")] == list(architectures.NAMES)


@pytest.mark.parametrize("row", rows("Architectures"), ids=lambda row: row[0].strip("`"))
def test_numbers_of_parameters_are_as_told(row: list[str]) -> None:
    model = architectures.build(row[0].strip("`"), channels=3, classes=100)
    assert row[1] == f"{architectures.parameter_count(model):,}"


def test_models_of_torchvision_that_are_named_exist() -> None:
    named = re.findall(r"`(torchvision/\w+\d+)`", section("Architectures"))
    assert named and set(named) <= set(architectures.from_torchvision.names())
