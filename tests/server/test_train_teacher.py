from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from server import train_teacher
from server.cli import app
from server.torch_teacher import load_teacher
from shared import checkpoints, datasets, pixels
from shared.datasets import Dataset, Labelled
from shared.errors import InvalidCheckpoint, InvalidConfig, RunMismatch, Stopped


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return datasets.load("digits")


@pytest.fixture(scope="module")
def few(digits: Dataset) -> Dataset:
    """Digits with three batches of images, which may also be mirrored."""
    cloud = Labelled(digits.cloud.images[:200], digits.cloud.labels[:200])
    return replace(digits, cloud=cloud, flip=True)


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return model.state_dict()


def assert_same(one: torch.nn.Module, other: torch.nn.Module) -> None:
    for name, tensor in weights(one).items():
        assert torch.equal(tensor, weights(other)[name]), name


def interrupt_at(step: int) -> Callable[[int, float], None]:
    def on_step(done: int, loss: float) -> None:
        if done == step:
            raise KeyboardInterrupt

    return on_step


def test_training_is_deterministic_learns_and_is_loaded_as_it_was_saved(digits: Dataset, tmp_path: Path) -> None:
    losses = list[float]()
    first = train_teacher.train(digits, "resnet8", epochs=3, seed=1, on_step=lambda _, loss: losses.append(loss))
    assert_same(first, train_teacher.train(digits, "resnet8", epochs=3, seed=1))
    assert len(losses) == train_teacher.steps_of(digits, 3) and np.mean(losses[-5:]) < np.mean(losses[:5])
    assert train_teacher.test_accuracy(first, digits.test) > 0.4
    path = tmp_path / "teacher.safetensors"
    card = checkpoints.Card(
        role="teacher", architecture="resnet8", dataset="digits", image_shape=(1, 8, 8), classes=10, seed=1
    )
    checkpoints.save(path, first, card)
    served = load_teacher(path)
    with torch.inference_mode():
        expected = first(pixels.from_array(digits.test.images))
    np.testing.assert_allclose(served.infer(digits.test.images), expected, rtol=1e-3, atol=1e-3)
    assert (served.image_shape, served.classes) == ((1, 8, 8), 10)


@pytest.mark.parametrize(
    ("architecture", "epochs", "step"),
    [("resnet8", 2, 1), ("resnet8", 2, 3), ("resnet8", 2, 5), ("torchvision/mobilenet_v3_small", 1, 1)],
    ids=["early", "between epochs", "within the last epoch", "with dropout"],
)
def test_an_interrupted_training_ends_with_the_weights_of_an_undisturbed_one(
    few: Dataset, tmp_path: Path, architecture: str, epochs: int, step: int
) -> None:
    state, seen = tmp_path / "state", list[int]()
    undisturbed = train_teacher.train(few, architecture, epochs=epochs, seed=1)
    with pytest.raises(
        Stopped, match=f"Stopped after {step} of {3 * epochs} batches. The same command goes on from {state}"
    ):
        train_teacher.train(
            few, architecture, epochs=epochs, seed=1, on_step=interrupt_at(step), state=state, save_every=0
        )
    torch.rand(7)  # whatever else draws in between
    resumed = train_teacher.train(
        few, architecture, epochs=epochs, seed=1, on_step=lambda done, _: seen.append(done), state=state
    )
    assert seen == list(range(step + 1, 3 * epochs + 1))
    assert_same(resumed, undisturbed)


def test_about_every_second_batch_of_photographs_is_mixed_and_labels_tell_the_shares_of_the_pixels(
    few: Dataset,
) -> None:
    mixed = train_teacher.mixing(replace(few, name="cifar10"))
    label_B = torch.arange(10)
    images_BCHW = label_B.float().reshape(10, 1, 1, 1).expand(10, 3, 8, 8)  # every pixel tells its image's class
    torch.manual_seed(1)
    batches = [mixed(images_BCHW, label_B) for _ in range(200)]
    untouched = [torch.equal(x_BCHW, images_BCHW) and torch.equal(y, label_B) for x_BCHW, y in batches]
    assert 80 <= sum(untouched) <= 125, "a square of no pixels mixes nothing, too"
    for x_BCHW, share_BK in (batch for batch, same in zip(batches, untouched, strict=True) if not same):
        pixels_BK = torch.stack([(x_BCHW[:, 0] == k).float().mean((1, 2)) for k in range(10)], 1)
        torch.testing.assert_close(pixels_BK, share_BK)
    x_BCHW, y = train_teacher.mixing(few)(images_BCHW, label_B)
    assert x_BCHW is images_BCHW and y is label_B, "digits are not"


def test_an_interrupted_training_on_photographs_mixes_what_an_undisturbed_one_does(
    few: Dataset, tmp_path: Path
) -> None:
    photographs, state = replace(few, name="cifar10"), tmp_path / "state"
    losses = list[float]()
    undisturbed = train_teacher.train(
        photographs, "resnet8", epochs=6, seed=1, on_step=lambda _, loss: losses.append(loss)
    )
    with pytest.raises(Stopped, match="Stopped after 3 of 6 batches"):  # all 200 images make one batch
        train_teacher.train(
            photographs, "resnet8", epochs=6, seed=1, on_step=interrupt_at(3), state=state, save_every=0
        )
    torch.rand(7)  # whatever else draws in between
    assert_same(train_teacher.train(photographs, "resnet8", epochs=6, seed=1, state=state), undisturbed)
    assert len(losses) == train_teacher.steps_of(photographs, 6) == 6


def test_a_state_that_is_not_due_yet_is_not_written(few: Dataset, tmp_path: Path) -> None:
    train_teacher.train(few, "resnet8", epochs=1, seed=1, state=tmp_path / "state", save_every=3600)
    assert list(tmp_path.iterdir()) == []


def test_the_state_of_another_training_is_refused(few: Dataset, tmp_path: Path) -> None:
    state = tmp_path / "state"
    train_teacher.train(few, "resnet8", epochs=1, seed=1, state=state, save_every=0)
    for other in ({"seed": 2}, {"epochs": 2}, {"architecture": "vgg11"}):
        asked: dict[str, Any] = {"architecture": "resnet8", "epochs": 1, "seed": 1} | other
        with pytest.raises(RunMismatch, match="unfinished training: resnet8 on digits, 1 epochs, seed 1"):
            train_teacher.train(few, **asked, state=state)


@pytest.mark.parametrize("content", [b"", b"no state", b"PK\x03\x04"])
def test_a_broken_state_is_said(few: Dataset, tmp_path: Path, content: bytes) -> None:
    state = tmp_path / "state"
    state.write_bytes(content)
    with pytest.raises(InvalidCheckpoint, match="Delete it to start this training anew"):
        train_teacher.train(few, "resnet8", epochs=1, seed=1, state=state)


def test_mirrored_images_are_learnt_from_only_where_the_dataset_allows_it(few: Dataset) -> None:
    mirrored = train_teacher.train(few, "resnet8", epochs=1, seed=1)
    as_they_are = train_teacher.train(replace(few, flip=False), "resnet8", epochs=1, seed=1)
    assert not torch.equal(weights(mirrored)["head.weight"], weights(as_they_are)["head.weight"])


def test_an_architecture_for_larger_images_is_refused_before_training(few: Dataset) -> None:
    with pytest.raises(InvalidConfig, match="cannot take images of 8x8 pixels"):
        train_teacher.train(few, "torchvision/squeezenet1_1", epochs=1, seed=1, on_step=interrupt_at(1))


def test_a_training_that_was_killed_goes_on_with_the_same_command(tmp_path: Path) -> None:
    out, undisturbed = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    flags = ["--architecture", "resnet8", "--epochs", "2"]
    state = tmp_path / "a.safetensors.unfinished"
    with pytest.raises(Stopped):
        train_teacher.train(
            datasets.load("digits"),
            "resnet8",
            epochs=2,
            seed=0,
            on_step=interrupt_at(20),
            state=state,
            save_every=0,
        )
    assert state.exists()
    for path in (out, undisturbed):
        result = CliRunner().invoke(app, ["train", "--out", str(path), *flags], catch_exceptions=False)
        assert "Teacher written to" in result.output
    assert out.read_bytes() == undisturbed.read_bytes()
    assert sorted(tmp_path.iterdir()) == [out, undisturbed]
