from collections.abc import Callable

import numpy as np
import pytest
import torch

from shared.pixels import cut_out, flip, from_array, recolour, shift, tilt, to_float, to_uint8
from shared.seeding import rng

EVERY_VALUE = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)


def test_every_value_survives_the_way_to_float_and_back() -> None:
    floats = to_float(EVERY_VALUE)
    assert (floats.min().item(), floats.max().item()) == (-1, 1)
    assert torch.equal(to_uint8(floats), EVERY_VALUE)


def test_floats_are_rounded_to_the_nearest_and_clipped() -> None:
    step = 2 / 255
    floats = torch.tensor([-9.0, -1.0, -1 + 0.4 * step, -1 + 0.6 * step, 1 - 0.4 * step, 1.0, 9.0])
    assert to_uint8(floats).tolist() == [0, 0, 0, 1, 255, 255, 255]


def test_an_array_that_nobody_may_write_gives_a_tensor_of_its_own() -> None:
    array = np.full((1, 1, 2, 2), 255, np.uint8)
    array.flags.writeable = False
    tensor = from_array(array)
    tensor.zero_()
    assert (array == 255).all()
    writable = np.zeros((1, 1, 2, 2), np.uint8)
    tensor = from_array(writable)
    writable[:] = 255
    assert (tensor == -1).all()


def test_a_shift_moves_every_image_by_its_own_offset_and_keeps_its_content() -> None:
    B, radius = 200, 2
    images_BCHW = torch.zeros(B, 2, 9, 9)
    images_BCHW[:, :, 4, 4] = torch.tensor([1.0, 2.0])
    moved_BCHW = shift(images_BCHW, radius, rng(0))
    places = moved_BCHW.nonzero()
    assert len(places) == 2 * B  # each of the two dots once, in both channels at the same place
    assert torch.equal(moved_BCHW.sum((2, 3)), images_BCHW.sum((2, 3)))
    offsets = {(int(row) - 4, int(column) - 4) for _, _, row, column in places}
    assert offsets == {(row, column) for row in range(-radius, radius + 1) for column in range(-radius, radius + 1)}


def test_a_shift_repeats_the_edge() -> None:
    rows = torch.arange(5.0)[None, None, :, None].expand(50, 1, 5, 5)
    moved = shift(rows, 1, rng(0))
    assert {tuple(image[0, :, 2].tolist()) for image in moved} == {
        (0, 0, 1, 2, 3),
        (0, 1, 2, 3, 4),
        (1, 2, 3, 4, 4),
    }


def test_no_radius_no_shift_and_the_same_generator_the_same_shift() -> None:
    images = torch.rand(8, 1, 8, 8, generator=rng(1))
    assert torch.equal(shift(images, 0, rng(0)), images)
    assert torch.equal(shift(images, 2, rng(0)), shift(images, 2, rng(0)))
    assert not torch.equal(shift(images, 2, rng(0)), shift(images, 2, rng(1)))


@pytest.mark.parametrize("radius", [0, 2])
def test_gradients_pass_through_a_shift(radius: int) -> None:
    images = torch.rand(3, 1, 4, 4, generator=rng(2), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: shift(x, radius, rng(3)) ** 2, images)


def test_about_half_of_the_images_are_mirrored_and_the_rest_left_alone() -> None:
    images = torch.arange(200 * 6, dtype=torch.float32).reshape(200, 1, 2, 3)
    flipped = flip(images, rng(0, "flip"))
    same = (flipped == images).flatten(1).all(1)
    mirrored = (flipped == images.flip(3)).flatten(1).all(1)
    assert (same ^ mirrored).all() and 70 < int(mirrored.sum()) < 130
    assert torch.equal(flipped, flip(images, rng(0, "flip")))


def test_a_tilt_turns_about_the_centre_by_no_more_than_it_may() -> None:
    images = torch.zeros(300, 1, 33, 33)
    images[:, :, 2, 16] = 1.0  # a dot 14 pixels above the centre
    turned = tilt(images, 10, rng(0))
    rows, columns = torch.meshgrid(torch.arange(33.0), torch.arange(33.0), indexing="ij")
    mass = turned.sum((1, 2, 3))
    across, down = (((axis - 16) * turned[:, 0]).sum((1, 2)) / mass for axis in (columns, rows))
    distance = (across**2 + down**2).sqrt()
    assert distance.min() > 14 / 1.1 - 0.5 and distance.max() < 14 * 1.1 + 0.8 and distance.std() > 0.3
    angle = torch.atan2(across, -down).rad2deg()
    most = 10 + 6.3  # a shear by a tenth looks like 5.7 degrees, and stretches help
    assert angle.abs().max() < most and angle.abs().max() > 10 and abs(angle.mean()) < 1
    centre = torch.zeros(20, 1, 33, 33)
    centre[:, :, 16, 16] = 1.0
    assert (tilt(centre, 10, rng(0)).flatten(1).argmax(1) == 16 * 33 + 16).all()


def test_a_tilt_turns_images_that_are_not_square_as_far_as_square_ones() -> None:
    images = torch.zeros(300, 1, 33, 99)
    images[:, :, 16, 85] = 1.0  # a dot 36 pixels right of the centre
    rows, columns = torch.meshgrid(torch.arange(33.0), torch.arange(99.0), indexing="ij")
    turned = tilt(images, 10, rng(0))
    across, down = (((axis - c) * turned[:, 0]).sum((1, 2)) for axis, c in ((columns, 49), (rows, 16)))
    seen = turned.sum((1, 2, 3)) > 0.5
    angle = torch.atan2(down, across).rad2deg()[seen]
    assert seen.sum() > 250 and 9 < angle.abs().max() < 10 + 1.5  # a stretch helps; a shear does not move the axis


def test_no_degrees_no_tilt_and_the_same_generator_the_same_tilt() -> None:
    images = torch.rand(8, 3, 8, 10, generator=rng(1))
    assert torch.equal(tilt(images, 0, rng(0)), images)
    assert torch.equal(tilt(images, 5, rng(0)), tilt(images, 5, rng(0)))
    assert not torch.equal(tilt(images, 5, rng(0)), tilt(images, 5, rng(1)))
    assert tilt(images, 5, rng(0)).shape == images.shape


def test_a_tilt_repeats_the_edge_and_invents_no_brightness() -> None:
    images = torch.full((10, 1, 8, 8), 0.7)
    torch.testing.assert_close(tilt(images, 45, rng(0)), images)


def test_other_colours_keep_what_is_seen_and_differ_from_image_to_image() -> None:
    images = torch.rand(400, 3, 6, 6, generator=rng(4)) * 2 - 1
    changed = recolour(images, rng(5))
    brightness = changed.mean((1, 2, 3)) - images.mean((1, 2, 3))
    assert -0.5 <= brightness.min() < -0.4 and 0.4 < brightness.max() <= 0.5
    before, after = images.mean(1).flatten(1), changed.mean(1).flatten(1)  # grey: contrast alone stretches it
    stretched = after.std(1) / before.std(1)
    assert 0.5 <= stretched.min() < 0.55 and 1.45 < stretched.max() <= 1.5
    assert torch.allclose(torch.corrcoef(torch.stack([before[0], after[0]]))[0, 1], torch.tensor(1.0), atol=1e-4)
    saturation = (changed.std(1) / images.std(1)).mean((1, 2)) / stretched
    assert saturation.min() < 0.05 and 1.9 < saturation.max() <= 2.01


def test_a_grey_square_covers_a_pixel_less_than_half_the_height_or_fewer_at_the_border_and_nothing_else() -> None:
    images = torch.ones(500, 2, 8, 12)
    covered = cut_out(images, rng(6)) == 0
    assert torch.equal(covered[:, 0], covered[:, 1])
    rows, columns = covered[:, 0].any(2).sum(1), covered[:, 0].any(1).sum(1)
    assert torch.equal(rows * columns, covered[:, 0].sum((1, 2)))  # a rectangle
    assert set(rows.tolist()) == set(columns.tolist()) == {2, 3}
    assert covered[:, 0].any(0).all()  # everywhere


@pytest.mark.parametrize("change", [recolour, cut_out])
def test_strong_changes_are_drawn_from_the_generator_alone(change: Callable[..., torch.Tensor]) -> None:
    images = torch.rand(8, 3, 8, 8, generator=rng(7))
    assert torch.equal(change(images, rng(1)), change(images, rng(1)))
    assert not torch.equal(change(images, rng(1)), change(images, rng(2)))
