import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edge.transfer_set import transfer_file
from edge.transfer_set.journal import digests
from edge.transfer_set.stored_pairs import Kind, StoredPairs
from edge.transfer_set.transfer_file import TransferCard
from shared import architectures, checkpoints
from shared.checkpoints import Card
from shared.errors import InvalidCheckpoint, RunMismatch
from shared.protocol import LABEL, LOGITS, PROBABILITIES
from tests.edge.transfer_set.storing import KIND, stored


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "transfer.safetensors"


@st.composite
def pair_sets(draw: st.DrawFn) -> StoredPairs:
    output = draw(st.sampled_from([LOGITS, PROBABILITIES, LABEL]))
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4)))
    classes, count = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    images = draw(arrays(np.uint8, (count, *shape)))
    images = images[np.sort(np.unique(digests(images), return_index=True)[1])]
    answers: Any
    if output == LABEL:
        answers = arrays(np.int64, len(images), elements=st.integers(0, classes - 1))
    else:
        low, high = (0, 1) if output == PROBABILITIES else (None, None)
        floats = st.floats(low, high, width=32, allow_nan=False, allow_infinity=False)
        answers = arrays(np.float32, (len(images), classes), elements=floats)
    text = st.text(st.characters(codec="utf-8"), max_size=5)
    kind = Kind.model_validate(
        {
            "output": output,
            "image_shape": shape,
            "classes": classes,
            "dataset": draw(text),
            "shift": draw(st.none() | st.integers(0, 3)),
            "teacher": draw(st.none() | text),
        }
    )
    stages = draw(st.lists(st.sampled_from(["a", "b", "\n"]), min_size=len(images), max_size=len(images)))
    return StoredPairs(kind, images, draw(answers), tuple(stages))


@given(pairs=pair_sets())
@settings(max_examples=60)
def test_whatever_is_written_is_read_back_unchanged(pairs: StoredPairs) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "new" / "file"
        transfer_file.save(path, pairs)
        read = transfer_file.load(path)
        again = path.read_bytes()
        transfer_file.save(path, read)
        assert path.read_bytes() == again
    assert (read.kind, read.stages) == (pairs.kind, pairs.stages)
    np.testing.assert_array_equal(read.images, pairs.images, strict=True)
    np.testing.assert_array_equal(read.answers, pairs.answers, strict=True)


def test_the_card_can_be_read_by_any_program_that_knows_safetensors(path: Path) -> None:
    transfer_file.save(path, pairs := stored(3))
    with safetensors.safe_open(path, "numpy") as file:
        card = json.loads(file.metadata()["mekd"])
        assert {name: file.get_tensor(name).shape for name in file.keys()} == {  # noqa: SIM118 - not a mapping
            "images": (3, 1, 8, 8),
            "answers": (3, 10),
            "stage": (3,),
        }
    assert card["digest"] == pairs.digest() and card["stages"] == {"distillation": 3}
    assert (card["format"], card["output"], card["classes"], card["dataset"]) == (1, "logits", 10, "digits")
    assert card["teacher"] == "linear"


def test_what_is_there_already_is_never_written_over(path: Path) -> None:
    transfer_file.save(path, stored(3))
    before = path.read_bytes()
    transfer_file.save(path, stored(3))
    with pytest.raises(RunMismatch, match=r"is there already and holds something else\. Choose another --to"):
        transfer_file.save(path, stored(4))
    assert path.read_bytes() == before


def test_every_shortened_file_and_every_flipped_byte_is_noticed(path: Path) -> None:
    transfer_file.save(path, stored(2))
    whole = path.read_bytes()
    for length in range(0, len(whole), 3):
        path.write_bytes(whole[:length])
        with pytest.raises(InvalidCheckpoint, match=path.name):
            transfer_file.load(path)
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(InvalidCheckpoint, match=path.name) as caught:
            transfer_file.load(path)
        assert "\n" not in str(caught.value)


def test_other_files_are_told_apart(path: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidCheckpoint, match=f"There is no transfer set at {path}"):
        transfer_file.load(path)
    safetensors.torch.save_file({"images": torch.zeros(1)}, path)
    with pytest.raises(InvalidCheckpoint, match="that MEKD did not write"):
        transfer_file.load(path)
    card = Card(role="student", architecture="resnet8", dataset="digits", image_shape=(1, 8, 8), classes=10, seed=0)
    checkpoints.save(path, architectures.build("resnet8", channels=1, classes=10), card)
    with pytest.raises(InvalidCheckpoint, match="is not a readable transfer set"):
        transfer_file.load(path)
    torch.save({"a": torch.zeros(1)}, path)
    for unreadable in (path, tmp_path):
        with pytest.raises(InvalidCheckpoint, match="is not a readable transfer set"):
            transfer_file.load(unreadable)


def spoilt(pairs: StoredPairs, tensors: dict[str, torch.Tensor], card: dict[str, Any]) -> bytes:
    """A file with other tensors and another card, whose digest is that of `pairs`."""
    right = {
        "images": torch.from_numpy(pairs.images),
        "answers": torch.from_numpy(pairs.answers),
        "stage": torch.zeros(len(pairs), dtype=torch.int64),
    }
    told = pairs.kind.model_dump() | {"stages": pairs.queries(), "digest": pairs.digest()} | card
    return checkpoints.packed(right | tensors, TransferCard.model_construct(**told))


def with_answer(value: float) -> StoredPairs:
    pairs = stored(2)
    pairs.answers[1, 3] = value
    return pairs


def twice_the_same() -> StoredPairs:
    pairs = stored(2)
    pairs.images[1] = pairs.images[0]
    return pairs


PROBABLE = KIND.model_copy(update={"output": PROBABILITIES}).model_dump()


@pytest.mark.parametrize(
    ("pairs", "tensors", "card", "words"),
    [
        (with_answer(float("nan")), {}, {}, "an answer is not a finite number"),
        (with_answer(float("inf")), {}, {}, "an answer is not a finite number"),
        (with_answer(2.0), {}, PROBABLE, "a probability is not between 0 and 1"),
        (twice_the_same(), {}, {}, "it holds an image twice"),
        (stored(2).first(0), {}, {}, "it holds no pairs"),
        (stored(2), {}, {"format": 2}, "'format': Input should be 1"),
        (stored(2), {}, {"output": "weights"}, "'output'"),
        (stored(2), {}, {"classes": 9}, r"'answers' is torch.float32 \[2, 10\] instead of torch.float32 \[2, 9\]"),
        (stored(2), {}, {"image_shape": (1, 4, 16)}, r"'images' is torch.uint8 \[2, 1, 8, 8\] instead"),
        (stored(2), {}, {"stages": {"distillation": 3}}, "pairs by stage are not as many as its card says"),
        (stored(2), {}, {"dataset": "mnist"}, "not what its digest was made of"),
        (stored(2), {"extra": torch.zeros(1)}, {}, "it holds answers, extra, images, stage instead of"),
        (stored(2), {"images": torch.zeros(2, 1, 8, 8)}, {}, "'images' is torch.float32"),
        (stored(2), {"answers": torch.zeros(3, 10)}, {}, r"'answers' is torch.float32 \[3, 10\] instead"),
        (stored(2), {"answers": torch.zeros(2, 10)}, {}, "not what its digest was made of"),
        (stored(2), {"stage": torch.tensor(0)}, {}, "'images' is"),
        (stored(2), {"stage": torch.tensor([0, 1])}, {}, "a stage is none of the 1 in its card"),
        (
            stored(2),
            {"answers": torch.tensor([0, 10])},
            KIND.model_copy(update={"output": LABEL}).model_dump(),
            "a label is none of the 10 classes",
        ),
    ],
)
def test_a_file_that_is_not_right_is_refused_with_what_is_wrong(
    path: Path, pairs: StoredPairs, tensors: dict[str, torch.Tensor], card: dict[str, Any], words: str
) -> None:
    path.write_bytes(spoilt(pairs, tensors, card))
    with pytest.raises(InvalidCheckpoint, match=words):
        transfer_file.load(path)


def test_the_file_that_the_wrong_ones_are_made_from_is_right(path: Path) -> None:
    path.write_bytes(spoilt(stored(2), {}, {}))
    assert transfer_file.load(path).digest() == stored(2).digest()
