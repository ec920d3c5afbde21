import re
from pathlib import Path

import numpy as np
import pytest
import torch

from server.torch_teacher import TorchTeacher, fold_batch_norms, load_teacher
from shared import architectures, checkpoints, pixels
from shared.errors import InvalidCheckpoint
from tests.server.asking import some_images


def untrained(architecture: str = "resnet8") -> torch.nn.Module:
    """A model whose batch norms have seen data, so that folding them has something to change."""
    torch.manual_seed(0)
    model = architectures.build(architecture, channels=1, classes=10)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    model(pixels.from_array(some_images(64)))
    return model.eval()


@pytest.mark.parametrize(
    "architecture", ["resnet8", "resnet20", "vgg11", "mobilenetv1", "mobilenetv2", "shufflenetv1", "shufflenetv2"]
)
def test_folding_batch_norms_removes_all_and_keeps_the_function(architecture: str) -> None:
    model, images = untrained(architecture), pixels.from_array(some_images(16, 1))
    with torch.inference_mode():
        expected = model(images)
        folded = fold_batch_norms(model)
        torch.testing.assert_close(folded(images), expected, rtol=1e-4, atol=1e-4)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())


@pytest.mark.parametrize(
    "architecture", [*architectures.NAMES, "torchvision/resnet18", "torchvision/mobilenet_v3_small"]
)
def test_every_family_answers_from_its_checkpoint_as_it_was_trained(architecture: str, tmp_path: Path) -> None:
    model, images, path = untrained(architecture), some_images(16, 1), tmp_path / "teacher.safetensors"
    card = checkpoints.Card(
        role="teacher", architecture=architecture, dataset="digits", image_shape=(1, 8, 8), classes=10, seed=0
    )
    checkpoints.save(path, model, card)
    with torch.inference_mode():
        expected = model(pixels.from_array(images)).numpy()
    assert expected.std() > 1e-3
    np.testing.assert_allclose(load_teacher(path).infer(images), expected, rtol=1e-3, atol=1e-3 * expected.std())


def test_a_version_is_that_of_the_weights_and_of_nothing_else(tmp_path: Path) -> None:
    model, paths = untrained(), [tmp_path / f"{name}.safetensors" for name in "abc"]
    card = checkpoints.Card(
        role="teacher", architecture="resnet8", dataset="digits", image_shape=(1, 8, 8), classes=10, seed=0
    )
    checkpoints.save(paths[0], model, card)
    checkpoints.save(paths[1], model, card.model_copy(update={"facts": {"test_accuracy": 0.5}}))
    with torch.no_grad():
        next(model.parameters())[0] += 1e-6
    checkpoints.save(paths[2], model, card)
    one, described, changed = (load_teacher(path).version for path in paths)
    assert one == described != changed and re.fullmatch("[0-9a-f]{12}", one)


def test_a_teacher_answers_read_only_images_with_float32() -> None:
    images = some_images(9)
    images.setflags(write=False)
    answer = TorchTeacher(untrained(), (1, 8, 8), 10).infer(images)
    assert answer.shape == (9, 10) and answer.dtype == np.float32


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
