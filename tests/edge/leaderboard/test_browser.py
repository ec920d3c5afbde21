"""The page in a real browser: what is drawn, what is asked of the network, and what the script does."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from edge.leaderboard.writing import write_leaderboard
from tests.edge.leaderboard.sweep_rows import sweep, written

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PHONE = {"width": 390, "height": 844}

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium or google-chrome on PATH")


@pytest.fixture
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


def test_the_page_works_in_a_browser(browser: Browser, tmp_path: Path) -> None:
    url = write_leaderboard([written(tmp_path / "rows.jsonl", sweep())], tmp_path)["html"].as_uri()
    asked: list[str] = []
    complaints: list[str] = []

    def opened(**options: Any) -> Any:
        page = browser.new_page(**options)
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url)
        return page

    page = opened(viewport={"width": 1280, "height": 900}, color_scheme="light")
    assert asked == [url]

    # Every chart is drawn: its lines have a place and a size.
    drawings = page.locator("figure svg")
    sizes = [drawings.nth(number).bounding_box() for number in range(drawings.count())]
    assert len(sizes) == 8 and all(size["width"] > 200 and size["height"] > 100 for size in sizes)
    lines = page.locator("figure svg g.of-0 path").evaluate_all("all => all.map(one => one.getBBox().width)")
    assert lines and max(lines) > 50

    # Sorted by a column: the highest first, then the lowest, then by name.
    def order() -> list[str]:
        names = page.locator(".ranking").first.locator("tbody th")
        return list(names.evaluate_all("all => all.map(one => one.dataset.v)"))

    heads = page.locator(".ranking").first.locator("thead button")
    assert order() == ["kd", "lq", "noise"]
    heads.last.click()
    assert order() == ["kd", "lq", "noise"]
    heads.last.click()
    assert order() == ["noise", "lq", "kd"]
    assert page.locator(".ranking").first.locator("thead th").last.get_attribute("aria-sort") == "ascending"
    heads.first.click()
    assert order() == ["kd", "lq", "noise"]

    # Chosen: one of the two boards, whose charts are still drawn though their namesakes are hidden.
    page.locator("select[name=response]").select_option("top1")
    visible = page.locator(".board:visible")
    assert visible.count() == 1 and visible.get_attribute("data-response") == "top1"
    assert all(visible.locator("figure svg").nth(number).bounding_box()["width"] > 200 for number in range(4))

    # A method can be taken out of all charts, and put back.
    entry = visible.locator(".legend button", has_text="kd")
    curve = visible.locator("figure svg g.of-0").first
    assert curve.is_visible()
    entry.click()
    assert not curve.is_visible() and entry.get_attribute("aria-pressed") == "false"
    entry.click()
    assert curve.is_visible() and entry.get_attribute("aria-pressed") == "true"
    page.locator("select[name=response]").select_option("")
    assert page.locator(".board:visible").count() == 2

    # Dark where the system is dark, charts included.
    def colours() -> list[str]:
        script = "() => [document.body, document.querySelector('figure svg text')].map((one, place) => "
        return list(page.evaluate(script + "getComputedStyle(one)[['backgroundColor', 'fill'][place]])"))

    light = colours()
    page.emulate_media(color_scheme="dark")
    assert all(before != after for before, after in zip(light, colours(), strict=True))

    # On a phone only the tables scroll sideways.
    phone = opened(viewport=PHONE)
    phone.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert phone.evaluate("document.documentElement.scrollWidth") == PHONE["width"]

    # Without its script the page is complete, and shows nothing that would not work.
    plain = browser.new_context(java_script_enabled=False).new_page()
    plain.goto(url)
    assert plain.locator(".board:visible").count() == 2 and plain.locator("figure svg:visible").count() == 8
    assert plain.locator("button:visible, select:visible").count() == 0

    assert complaints == [] and set(asked) == {url}
