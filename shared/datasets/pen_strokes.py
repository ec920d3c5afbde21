"""Digits as a pen draws them: smooth curves through a few points that are bent a little differently each time.

Points are (x, y) in the unit square, y downwards.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Stroke = tuple[tuple[float, float], ...]

_TWO: Stroke = ((0.15, 0.25), (0.3, 0.08), (0.6, 0.05), (0.82, 0.25), (0.7, 0.5), (0.4, 0.72), (0.15, 0.93))
_SEVEN: tuple[Stroke, ...] = (((0.15, 0.08), (0.85, 0.08)), ((0.85, 0.08), (0.6, 0.45), (0.42, 0.95)))

WAYS: tuple[tuple[tuple[Stroke, ...], ...], ...] = (
    (
        (
            (
                (0.5, 0.05),
                (0.2, 0.2),
                (0.12, 0.5),
                (0.2, 0.8),
                (0.5, 0.95),
                (0.8, 0.8),
                (0.88, 0.5),
                (0.8, 0.2),
                (0.5, 0.05),
            ),
        ),
    ),
    ((((0.5, 0.05), (0.5, 0.95)),), (((0.3, 0.25), (0.55, 0.05)), ((0.55, 0.05), (0.55, 0.95)))),
    ((_TWO, ((0.15, 0.93), (0.85, 0.93))),),
    (
        (
            ((0.2, 0.12), (0.5, 0.04), (0.8, 0.18), (0.72, 0.4), (0.45, 0.48)),
            ((0.45, 0.48), (0.8, 0.58), (0.82, 0.8), (0.5, 0.96), (0.18, 0.85)),
        ),
    ),
    (
        (((0.3, 0.05), (0.15, 0.55)), ((0.15, 0.55), (0.85, 0.55)), ((0.68, 0.15), (0.65, 0.95))),
        (((0.65, 0.95), (0.65, 0.05)), ((0.65, 0.05), (0.12, 0.65)), ((0.12, 0.65), (0.9, 0.65))),
    ),
    (
        (
            ((0.8, 0.06), (0.25, 0.06)),
            ((0.25, 0.06), (0.2, 0.45)),
            ((0.2, 0.45), (0.5, 0.38), (0.82, 0.55), (0.8, 0.82), (0.5, 0.96), (0.18, 0.86)),
        ),
    ),
    (
        (
            (
                *((0.7, 0.05), (0.35, 0.3), (0.18, 0.65), (0.3, 0.93), (0.6, 0.95)),
                *((0.82, 0.75), (0.7, 0.53), (0.4, 0.53), (0.2, 0.7)),
            ),
        ),
    ),
    (_SEVEN, (*_SEVEN, ((0.35, 0.5), (0.75, 0.5)))),
    (
        (
            (
                *((0.5, 0.5), (0.22, 0.32), (0.28, 0.1), (0.5, 0.04), (0.72, 0.1), (0.78, 0.32), (0.5, 0.5)),
                *((0.2, 0.68), (0.22, 0.88), (0.5, 0.96), (0.78, 0.88), (0.8, 0.68), (0.5, 0.5)),
            ),
        ),
    ),
    (
        (
            (
                *((0.78, 0.3), (0.6, 0.5), (0.3, 0.45), (0.2, 0.25), (0.4, 0.06)),
                *((0.65, 0.08), (0.78, 0.3), (0.75, 0.65), (0.6, 0.95)),
            ),
        ),
    ),
)
"""By digit: one or more ways to write it, each of one or more strokes."""

POINTS = 16
BEND = 0.06
"""Standard deviation of the four corners' and the middle's displacement, as a share of the digit's height."""


def draw(digit: int, height: int, random: np.random.Generator) -> Image.Image:
    """One digit, white on black, `height` pixels high and three quarters as wide, with as much again around it."""
    ways = WAYS[digit]
    strokes = ways[random.integers(len(ways))]
    width = max(2, round(height * random.uniform(0.06, 0.16)))
    bend = random.normal(0, BEND, (3, 3, 2))
    image = Image.new("L", (2 * height, 2 * height))
    pen = ImageDraw.Draw(image)
    corner, scale = np.array((0.625, 0.5)) * height, np.array((0.75, 1.0)) * height
    for stroke in strokes:
        curve = _bent(_smooth(stroke), bend) * scale + corner
        pen.line([tuple(point) for point in curve], fill=255, width=width, joint="curve")
        for x, y in (curve[0], curve[-1]):
            pen.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=255)
    return image


@cache
def _smooth(stroke: Stroke) -> NDArray[np.float64]:
    """Points [N, 2] of a curve through those given."""
    from scipy.interpolate import make_interp_spline  # here and not above: few draw, and it takes a while

    at = np.linspace(0, 1, len(stroke))
    spline = make_interp_spline(at, np.array(stroke), k=min(3, len(stroke) - 1))
    return np.asarray(spline(np.linspace(0, 1, POINTS)), np.float64)


def _bent(points: NDArray[np.float64], bend: NDArray[np.float64]) -> NDArray[np.float64]:
    """`points` [N, 2] moved by the displacements `bend` [3, 3, 2] of a grid over the square; joints stay joined."""
    x, y = np.clip(points, 0, 1).T
    weights = [np.stack([(1 - t) ** 2, 2 * t * (1 - t), t**2]) for t in (x, y)]
    moved: NDArray[np.float64] = np.einsum("in,jn,ijd->nd", *weights, bend)
    return points + moved
