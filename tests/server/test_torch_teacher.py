from pathlib import Path

import numpy as np
import pytest
import torch

from server import train_teacher
from server.torch_teacher import TorchTeacher, fold_batch_norms, load_teacher
from shared import architectures, checkpoints, datasets, pixels
from shared.errors import InvalidCheckpoint
from tests.server.asking import some_images


def untrained(architecture: str = "resnet8") -> torch.nn.Module:
    """A model whose batch norms have seen data, so that folding them has something to change."""
    torch.manual_seed(0)
    model = architectures.build(architecture, channels=1, classes=10)
    model(pixels.from_array(some_images(64)))
    return model.eval()


@pytest.mark.parametrize("architecture", ["resnet8", "resnet20"])
def test_folding_batch_norms_removes_all_and_keeps_the_function(architecture: str) -> None:
    model, images = untrained(architecture), pixels.from_array(some_images(16, 1))
    with torch.inference_mode():
        expected = model(images)
        folded = fold_batch_norms(model)
        torch.testing.assert_close(folded(images), expected, rtol=1e-4, atol=1e-4)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())


def test_a_teacher_answers_read_only_images_with_float32() -> None:
    images = some_images(9)
    images.setflags(write=False)
    answer = TorchTeacher(untrained(), (1, 8, 8), 10).infer(images)
    assert answer.shape == (9, 10) and answer.dtype == np.float32


def test_training_is_deterministic_learns_and_is_loaded_as_it_was_saved(tmp_path: Path) -> None:
    dataset, losses = datasets.load("digits"), list[float]()
    first = train_teacher.train(dataset, "resnet8", epochs=3, seed=1, on_epoch=losses.append)
    again = train_teacher.train(dataset, "resnet8", epochs=3, seed=1, on_epoch=lambda _: None)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    assert len(losses) == 3 and losses[-1] < losses[0]
    assert train_teacher.test_accuracy(first, dataset.test) > 0.4
    path = tmp_path / "teacher.safetensors"
    card = checkpoints.Card(
        role="teacher", architecture="resnet8", dataset="digits", image_shape=(1, 8, 8), classes=10, seed=1
    )
    checkpoints.save(path, first, card)
    served = load_teacher(path)
    with torch.inference_mode():
        expected = first(pixels.from_array(dataset.test.images))
    np.testing.assert_allclose(served.infer(dataset.test.images), expected, rtol=1e-3, atol=1e-3)
    assert (served.image_shape, served.classes) == ((1, 8, 8), 10)


def test_what_is_no_teacher_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with pytest.raises(InvalidCheckpoint, match="There is no teacher"):
        load_teacher(path)
    card = checkpoints.Card(
        role="student", architecture="resnet8", dataset="digits", image_shape=(1, 8, 8), classes=10, seed=0
    )
    checkpoints.save(path, untrained(), card)
    with pytest.raises(InvalidCheckpoint, match="holds a student, a teacher is needed"):
        load_teacher(path)


@pytest.mark.parametrize(("images", "epochs"), [(897, 40), (54_000, 3), (2_000, 18)])
def test_the_default_number_of_epochs_follows_the_size_of_the_dataset(images: int, epochs: int) -> None:
    dataset = datasets.load("digits")
    cloud = datasets.Labelled(np.zeros((images, 1, 1, 1), np.uint8), np.zeros(images, np.int64))
    sized = datasets.Dataset("x", 10, 1, cloud, dataset.edge, dataset.test)
    assert train_teacher.default_epochs(sized) == epochs
