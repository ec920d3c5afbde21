"""How training may change an image without changing its class: what a dataset allows, and doing it.

Shapes: B batch, C channels, H height, W width.
"""

from typing import NamedTuple

import torch

from shared import pixels


class Augmentation(NamedTuple):
    """A random change for every image of a batch."""

    shift: int
    """Most pixels by which an image is moved, on both axes."""
    flip: bool = False
    """Whether left and right may be swapped."""
    tilt: float = 0.0
    """Most degrees by which an image is turned; see `shared.pixels.tilt`."""
    strong: bool = False
    """Whether it also gets other colours and a grey square."""

    def overridden(self, shift: int | None, flip: bool | None) -> "Augmentation":
        """The same with what is not None in its place."""
        return self._replace(shift=self.shift if shift is None else shift, flip=self.flip if flip is None else flip)

    def __call__(self, images_BCHW: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Float images [B, C, H, W], changed; differentiable."""
        moved_BCHW = pixels.tilt(pixels.shift(images_BCHW, self.shift, rng), self.tilt, rng)
        if self.flip:
            moved_BCHW = pixels.flip(moved_BCHW, rng)
        return pixels.cut_out(pixels.recolour(moved_BCHW, rng), rng) if self.strong else moved_BCHW
