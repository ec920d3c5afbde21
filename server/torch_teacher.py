"""A trained torch model as `Teacher`, made ready for inference: batch norms folded into convolutions, channels last.

Shapes: N images, C channels, H height, W width, K classes.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from shared import architectures, checkpoints, compute, pixels


class TorchTeacher:
    """Implements `Teacher`; changes `model` in place."""

    def __init__(self, model: nn.Module, image_shape: tuple[int, int, int], classes: int) -> None:
        self.image_shape, self.classes = image_shape, classes
        self.version = checkpoints.version_of(model.state_dict())
        self._device = compute.device()
        fused = fold_batch_norms(model.eval()).to(self._device)
        self._model = fused.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Teacher.infer`."""
        images_NCHW = torch.tensor(images, device=self._device)
        floats_NCHW = pixels.to_float(images_NCHW).contiguous(memory_format=torch.channels_last)
        logits: NDArray[np.float32] = self._model(floats_NCHW).float().cpu().numpy()
        return logits


def load_teacher(path: Path) -> TorchTeacher:
    """The teacher that `mekd-server train` wrote to `path`.

    Raises:
        InvalidCheckpoint: not there, damaged, or not a teacher.
    """
    card, tensors = checkpoints.load(path, "teacher")
    model = architectures.build(card.architecture, channels=card.image_shape[0], classes=card.classes)
    checkpoints.restore(model, tensors, path)
    return TorchTeacher(model, card.image_shape, card.classes)


def fold_batch_norms(model: nn.Module) -> nn.Module:
    """The same function in evaluation mode, with every batch norm that follows a convolution folded into it."""
    traced = fx.symbolic_trace(model)
    modules = dict(traced.named_modules())
    for node in list(traced.graph.nodes):
        if node.op != "call_module" or not isinstance(norm := modules[node.target], nn.BatchNorm2d):
            continue
        before = node.args[0]
        conv = modules.get(before.target) if before.op == "call_module" else None
        if isinstance(conv, nn.Conv2d) and len(before.users) == 1:
            traced.set_submodule(before.target, fuse_conv_bn_eval(conv, norm))
            node.replace_all_uses_with(before)
            traced.graph.erase_node(node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced
