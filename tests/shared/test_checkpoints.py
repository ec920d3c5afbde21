import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from shared import checkpoints
from shared.checkpoints import Card
from shared.errors import InvalidCheckpoint

CARD = Card(
    role="student",
    architecture="resnet8",
    dataset="digits",
    image_shape=(1, 8, 8),
    classes=10,
    seed=3,
    facts={"a": 0.5},
)


class Bag(nn.Module):
    """Holds any tensors."""

    def __init__(self, tensors: dict[str, torch.Tensor]) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


@given(
    shapes=st.lists(st.lists(st.integers(1, 4), max_size=4), min_size=1, max_size=4),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.int64, torch.uint8]),
    seed=st.integers(0, 2**64),
    facts=st.dictionaries(st.text(max_size=5), st.floats(allow_nan=False, allow_infinity=False), max_size=3),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_model_and_its_card_come_back_as_they_were(
    path: Path, shapes: list[list[int]], dtype: torch.dtype, seed: int, facts: dict[str, float]
) -> None:
    rng = torch.Generator().manual_seed(0)
    tensors = {f"t{i}": (torch.randn(s, generator=rng) * 50).abs().to(dtype) for i, s in enumerate(shapes)}
    card = CARD.model_copy(update={"seed": seed, "facts": facts})
    checkpoints.save(path, Bag(tensors), card)
    read, found = checkpoints.load(path, "student")
    assert read == card and found.keys() == tensors.keys()
    assert all(found[name].dtype == dtype and torch.equal(found[name], tensors[name]) for name in tensors)
    copy = Bag({name: torch.zeros_like(tensor) for name, tensor in tensors.items()})
    checkpoints.restore(copy, found, path)
    assert all(torch.equal(getattr(copy, name), tensors[name]) for name in tensors)


def test_any_memory_format_is_stored(path: Path) -> None:
    layer = nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    checkpoints.save(path, layer, CARD)
    assert torch.equal(checkpoints.load(path, "student")[1]["weight"], layer.weight)


def test_a_missing_file_is_said(path: Path) -> None:
    with pytest.raises(InvalidCheckpoint, match=f"There is no student at {path}"):
        checkpoints.load(path, "student")


def test_every_shortened_file_is_refused_by_name(path: Path) -> None:
    checkpoints.save(path, nn.Linear(2, 2), CARD)
    whole = path.read_bytes()
    for length in {*range(0, len(whole), 7), len(whole) - 1}:
        path.write_bytes(whole[:length])
        with pytest.raises(InvalidCheckpoint, match="is not a readable student checkpoint"):
            checkpoints.load(path, "student")


def test_what_is_no_checkpoint_at_all_is_refused(path: Path, tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, path)
    for unreadable in (path, tmp_path):
        with pytest.raises(InvalidCheckpoint, match="is not a readable student checkpoint"):
            checkpoints.load(unreadable, "student")


def test_another_programs_file_is_told_apart(path: Path) -> None:
    safetensors.torch.save_file({"a": torch.zeros(1)}, path, {"format": "pt"})
    with pytest.raises(InvalidCheckpoint, match="that MEKD did not write"):
        checkpoints.load(path, "student")


@pytest.mark.parametrize(
    "change", [{"format": 2}, {"classes": "many"}, {"classes": 0}, {"image_shape": [1, 8]}, {"surplus": 1}]
)
def test_a_card_that_this_version_does_not_know_is_refused(path: Path, change: dict[str, object]) -> None:
    header = json.dumps(CARD.model_dump() | change)
    safetensors.torch.save_file({"a": torch.zeros(1)}, path, {"mekd": header})
    with pytest.raises(InvalidCheckpoint, match="is not a readable student checkpoint"):
        checkpoints.load(path, "student")


def test_one_parts_file_is_refused_in_the_place_of_anothers(path: Path) -> None:
    checkpoints.save(path, nn.Linear(2, 2), CARD)
    with pytest.raises(InvalidCheckpoint, match="holds a student, a teacher is needed"):
        checkpoints.load(path, "teacher")


def test_weights_that_do_not_fit_are_refused(path: Path) -> None:
    checkpoints.save(path, nn.Linear(2, 2), CARD)
    _, tensors = checkpoints.load(path, "student")
    for other in (nn.Linear(2, 3), nn.Linear(2, 2, bias=False), nn.Conv2d(1, 1, 1)):
        with pytest.raises(InvalidCheckpoint, match=f"{path} does not fit"):
            checkpoints.restore(other, tensors, path)
