import html
import io

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from edge.distillation import split
from edge.report import by_queries, charts, figures, pictures
from edge.transfer_set.journal import Payment
from edge.transfer_set.stored_pairs import Kind, StoredPairs
from tests.edge.html_page import Page
from tests.edge.small import small_config


def grey(png: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Pixels that are not transparent."""
    with Image.open(io.BytesIO(png)) as file:
        pixels = np.asarray(file.convert("LA"))
    return np.asarray(pixels[pixels[..., 1] == 255, 0])


def test_grids_show_the_pixels_as_they_are() -> None:
    black_and_white = np.stack([np.zeros((1, 8, 8), np.uint8), np.full((1, 8, 8), 255, np.uint8)])
    mid_grey = np.full((2, 1, 8, 8), 100, np.uint8)
    assert {0, 255} <= set(grey(figures.image_grid(black_and_white, ["", ""])).tolist())
    assert set(grey(figures.image_grid(mid_grey, ["", ""])).tolist()) == {100}  # not stretched to the full range
    assert set(grey(figures.labelled_rows({"": mid_grey, " ": mid_grey[:0]})).tolist()) == {100}
    assert grey(figures.image_grid(np.zeros((13, 3, 8, 8), np.uint8), ["title"] * 13)).size > 0


class NeverLooks(nn.Module):
    """A student that takes an image's first pixel for its class, surer the brighter the second one is."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        grey_BP = ((x_BCHW.flatten(1) + 1) * 127.5).round()
        return F.one_hot(grey_BP[:, 0].long(), 10) * (1 + grey_BP[:, 1:2] / 50)


def test_mistakes_on_held_out_answers_come_the_surest_first() -> None:
    count = 40
    images = np.zeros((count, 1, 8, 8), np.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = 3, np.arange(count) * 5
    kind = Kind(output="label", image_shape=(1, 8, 8), classes=10, dataset="digits")
    pairs = StoredPairs(kind, images, np.arange(count) % 2 + 3, ("distillation",) * count)
    config = small_config(distillation={"held_out": 0.4})
    _, held_out = split(count, 0.4, config.seed)
    shown, titles, wrong = pictures.mistakes(NeverLooks(), pairs, config)
    expected = sorted((int(place) for place in held_out if place % 2), reverse=True)
    assert wrong == len(expected) == len(shown) and [title[:6] for title in titles] == ["4 as 3"] * wrong
    assert shown[:, 0, 0, 1].tolist() == [place * 5 for place in expected]


def test_rows_of_classes_hold_the_first_images_of_each() -> None:
    images = np.arange(20, dtype=np.uint8).reshape(20, 1, 1, 1)
    rows = pictures.by_class(images, np.arange(20) % 2, 3)
    assert list(rows) == ["0", "1", "2"]
    assert rows["0"].ravel().tolist() == list(range(0, 16, 2)) and len(rows["2"]) == 0


def test_the_balance_of_classes_tells_when_all_were_seen() -> None:
    _, complete = by_queries.balance(np.array([0, 0, 1, 0, 2, 2]), 3)
    picture, never = by_queries.balance(np.array([0, 0, 1, 0]), 3)
    assert (complete, never) == (5, None)
    assert "the rarest has 0.0%, the commonest 75.0%" in html.unescape(picture)


def test_spending_goes_on_from_stage_to_stage() -> None:
    picture = by_queries.spending([Payment("a", 10, 5.0, 6.0), Payment("b", 20, 8.0, 9.0)])
    assert "30 in the end" in picture and ">a<" in picture and ">b<" in picture


def test_long_curves_are_smoothed_and_missing_ones_left_out() -> None:
    def swinging(steps: int) -> str:
        """Between 0 and 1 at every step, so that a mean of several is near one half."""
        return charts.curves(
            {"a": [(step, float(step % 2)) for step in range(steps)]}, ("a", "b"), "value", "A curve."
        )

    assert ">1.0<" in swinging(200) and ">1.0<" not in swinging(5000)
    assert ">b<" not in swinging(200)


def test_what_a_chart_says_cannot_become_markup() -> None:
    drawn = charts.lines({"<b>": [(0, 1), (1, 2)], "x & y": [(0, 1)]}, "<i>", "value", 'A "quoted" <u>.')
    page = Page(drawn)
    assert page.charts == ['A "quoted" <u>.'] and not {"b", "i", "u"} & set(page.tags)
    assert {"<b>", "x & y", "<i>"} <= set(page.words)
