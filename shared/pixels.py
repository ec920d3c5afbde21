"""Between the uint8 images of the wire and the floats of the models. One rule, both sides, every model.

Shapes: B batch, C channels, H height, W width.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray


def to_float(images_BCHW: torch.Tensor) -> torch.Tensor:
    """uint8 [0, 255] -> float32 [-1, 1]."""
    return images_BCHW.to(torch.float32).div_(127.5).sub_(1.0)


def to_uint8(images_BCHW: torch.Tensor) -> torch.Tensor:
    """Float [-1, 1] -> uint8 [0, 255], rounded to nearest, clipped outside."""
    return images_BCHW.add(1.0).mul(127.5).round().clamp(0, 255).to(torch.uint8)


def from_array(images: NDArray[np.uint8]) -> torch.Tensor:
    """uint8 array [B, C, H, W], read-only or not -> float32 tensor [-1, 1] of its own."""
    return to_float(torch.from_numpy(np.array(images)))


def shift(images_BCHW: torch.Tensor, radius: int, rng: torch.Generator) -> torch.Tensor:
    """Move every image by its own whole number of pixels in [-radius, radius] on both axes, edges repeated.

    Differentiable, because a GAN's discriminator sees its fake images through it.
    """
    if radius == 0:
        return images_BCHW
    B, C, H, W = images_BCHW.shape
    device = images_BCHW.device
    offset_B2 = torch.randint(-radius, radius + 1, (B, 2), generator=rng).to(device)
    rows_BH = (torch.arange(H, device=device) + offset_B2[:, :1]).clamp(0, H - 1)
    columns_BW = (torch.arange(W, device=device) + offset_B2[:, 1:]).clamp(0, W - 1)
    rows = rows_BH[:, None, :, None].expand(B, C, H, W)
    columns = columns_BW[:, None, None, :].expand(B, C, H, W)
    return images_BCHW.gather(2, rows).gather(3, columns)


def flip(images_BCHW: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Swap left and right of about every second image."""
    chosen_B = torch.rand(len(images_BCHW), generator=rng).to(images_BCHW.device) < 0.5
    return torch.where(chosen_B[:, None, None, None], images_BCHW.flip(3), images_BCHW)


def tilt(images_BCHW: torch.Tensor, degrees: float, rng: torch.Generator) -> torch.Tensor:
    """Turn every image about its centre by up to `degrees`; stretch and shear it by up to as many hundredths.

    Both axes are stretched apart. Pixels in between are interpolated, edges repeated. Differentiable.
    """
    if degrees == 0:
        return images_BCHW
    (B, _, H, W), device = images_BCHW.shape, images_BCHW.device
    angle_B, *others = ((torch.rand(4, B, generator=rng) * 2 - 1) * degrees).to(device)
    across_B, down_B, shear_B = (percent_B / 100 for percent_B in others)
    cosine_B, sine_B = (angle_B * math.pi / 180).cos(), (angle_B * math.pi / 180).sin()
    zero_B = torch.zeros(B, device=device)
    # In the grid's coordinates both axes go from -1 to 1, whatever the image's shape.
    matrix_B23 = torch.stack(
        [
            torch.stack([cosine_B / (1 + across_B), (shear_B - sine_B) / (1 + across_B) * (H / W), zero_B], 1),
            torch.stack([sine_B / (1 + down_B) * (W / H), cosine_B / (1 + down_B), zero_B], 1),
        ],
        1,
    )
    grid_BHW2 = F.affine_grid(matrix_B23, list(images_BCHW.shape), align_corners=False)
    return F.grid_sample(images_BCHW, grid_BHW2, padding_mode="border", align_corners=False)


def recolour(images_BCHW: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Change the brightness, saturation and contrast of every image as DiffAugment does (Zhao et al., NeurIPS 2020).

    Up to a quarter of the range brighter or darker, 0 to 2 times as saturated, a half to one and a half times as much
    contrast. Not clipped; differentiable.
    """
    brightness_B, saturation_B, contrast_B = torch.rand(3, len(images_BCHW), 1, 1, 1, generator=rng)
    device = images_BCHW.device
    images_BCHW = images_BCHW + (brightness_B - 0.5).to(device)
    grey_B1HW = images_BCHW.mean(1, keepdim=True)
    images_BCHW = grey_B1HW + (images_BCHW - grey_B1HW) * (2 * saturation_B).to(device)
    mean_B111 = images_BCHW.mean((1, 2, 3), keepdim=True)
    recoloured_BCHW: torch.Tensor = mean_B111 + (images_BCHW - mean_B111) * (contrast_B + 0.5).to(device)
    return recoloured_BCHW


def cut_out(images_BCHW: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Lay a grey square over every image, a pixel less than half its height wide (DeVries, Taylor 2017).

    Its middle lies anywhere, so that a part may lie outside.
    """
    (B, _, H, W), device = images_BCHW.shape, images_BCHW.device
    share_2B = torch.rand(2, B, generator=rng).to(device)
    row_B, column_B = (share_2B[0] * H).long(), (share_2B[1] * W).long()
    rows_BH = (torch.arange(H, device=device) - row_B[:, None]).abs() < H / 4
    columns_BW = (torch.arange(W, device=device) - column_B[:, None]).abs() < H / 4
    return images_BCHW.masked_fill((rows_BH[:, :, None] & columns_BW[:, None, :])[:, None], 0.0)
