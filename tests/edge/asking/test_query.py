from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import SecretStr

from edge.asking.client import TeacherClient
from edge.asking.query import ask_about
from shared.errors import BudgetExhausted, InvalidImage, OutputNotAllowed
from shared.protocol import Usage
from tests.conftest import LiveServer
from tests.fakes import LinearTeacher


def write_images(folder: Path, count: int) -> tuple[list[Path], np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 1, 8, 8), np.uint8)
    paths = [folder / f"{index}.png" for index in range(count)]
    for path, image in zip(paths, pixels, strict=True):
        Image.fromarray(image[0]).save(path)
    return paths, pixels


def ask(
    server: LiveServer, key: str, paths: list[Path], output: str | None = None, *, resize: bool = False
) -> tuple[list[dict[str, Any]], Usage | None]:
    with TeacherClient(server.url, SecretStr(key), patience=1) as client:
        return ask_about(paths, client, output, resize=resize)


def test_every_file_gets_the_class_and_the_values_that_the_teacher_computes(
    live_server: LiveServer, tmp_path: Path
) -> None:
    paths, pixels = write_images(tmp_path, 3)
    rows, usage = ask(live_server, live_server.make_key(budget=10), paths)
    for row, logits in zip(rows, LinearTeacher().logits(pixels), strict=True):
        assert row == {"class": logits.argmax(), "logits": pytest.approx(logits.tolist())}
    assert usage is not None and (usage.spent, usage.remaining) == (3, 7)


def test_the_richest_output_is_asked_for_that_the_key_sees(live_server: LiveServer, tmp_path: Path) -> None:
    paths, pixels = write_images(tmp_path, 1)
    label = LinearTeacher().logits(pixels)[0].argmax()
    (row,), _ = ask(live_server, live_server.make_key(policy="top1"), paths)
    assert row == {"class": label}
    (row,), _ = ask(live_server, live_server.make_key(policy="probabilities"), paths)
    assert row["class"] == label == np.argmax(row["probabilities"])
    assert len(row["probabilities"]) == 10 and sum(row["probabilities"]) == pytest.approx(1)


def test_the_same_image_is_charged_once_whatever_its_file(live_server: LiveServer, tmp_path: Path) -> None:
    (path,), _ = write_images(tmp_path, 1)
    copy = tmp_path / "copy.bmp"
    Image.open(path).save(copy)
    key = live_server.make_key(budget=10)
    first, _ = ask(live_server, key, [path, copy])
    again, _ = ask(live_server, key, [copy])
    assert live_server.spent(key) == 1
    assert first[0] == first[1] == again[0]
    ask(live_server, key, [path], "label")
    assert live_server.spent(key) == 2  # another question


def test_an_output_that_the_key_does_not_see_is_refused_with_what_it_sees(
    live_server: LiveServer, tmp_path: Path
) -> None:
    paths, _ = write_images(tmp_path, 1)
    key = live_server.make_key(policy="top1")
    with pytest.raises(OutputNotAllowed, match=r"sees label, not logits\. Ask the operator"):
        ask(live_server, key, paths, "logits")
    assert live_server.spent(key) == 0


def test_one_unfit_file_stops_all_before_anything_is_charged(live_server: LiveServer, tmp_path: Path) -> None:
    paths, _ = write_images(tmp_path, 2)
    Image.new("L", (9, 7)).save(wide := tmp_path / "wide.png")
    key = live_server.make_key(budget=10)
    with pytest.raises(InvalidImage, match=r"wide\.png is 9x7 pixels, the teacher takes 8x8"):
        ask(live_server, key, [*paths, wide])
    with pytest.raises(InvalidImage, match=r"missing\.png cannot be read"):
        ask(live_server, key, [*paths, tmp_path / "missing.png"])
    assert live_server.spent(key) == 0
    rows, _ = ask(live_server, key, [*paths, wide], resize=True)
    assert len(rows) == 3 and live_server.spent(key) == 3


def test_a_spent_budget_is_said(live_server: LiveServer, tmp_path: Path) -> None:
    paths, _ = write_images(tmp_path, 2)
    key = live_server.make_key(budget=1)
    with pytest.raises(BudgetExhausted):
        ask(live_server, key, paths)
    assert live_server.spent(key) == 1
