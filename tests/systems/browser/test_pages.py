"""The pages in a real browser: they open, they show the data, and the console stays clean."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from playlake.warehouse.reader import GoldReader
from tests.support.commands import Cli, end
from tests.support.exports import make_export
from tests.support.waiting import wait_for

CHART = "[data-testid='stVegaLiteChart'] :is(svg, canvas)"
CARD = "[data-testid='stMetric']"
CUT = """cards => cards.flatMap(card => [card, ...card.querySelectorAll('*')])
    .filter(e => (e.clientWidth && e.scrollWidth > e.clientWidth) || e.getBoundingClientRect().right > innerWidth)
    .map(e => e.textContent)"""
"""The texts of what is wider than its place in a card, or stands beyond the window's edge."""
NO_DEVICE = "an account export names no device"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium() -> str:
    """The browser: ``CHROMIUM``, or one on the path."""
    for name in (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name) if name else None
        if found:
            return found
    raise AssertionError("no browser: install chromium (apt install chromium), or name one in CHROMIUM")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, object]]:
    """The simulator's listening, served."""
    yield from serving(tmp_path_factory.mktemp("pages"), "--plays", "4000", "--listeners", "40")


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, object]]:
    """An account export, served: figures of five digits, no album and no device."""
    folder = tmp_path_factory.mktemp("account")
    yield from serving(folder, "--history", str(make_export(folder / "export", 20_000)))


def serving(folder: Path, *args: str) -> Iterator[dict[str, object]]:
    """A demo that serves, and its ``--json``; Ctrl-C ends it and leaves nothing."""
    cli = Cli(folder / "home")
    process = cli.start("demo", *args, "--json")
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()[1]
    yield {**json.loads(line), "home": cli.home}
    done = end(process)
    left = cli.processes()
    for one in left:
        one.kill()
    assert (done.code, left) == (0, []), done.err


@pytest.fixture
def page(browser: Browser) -> Iterator[tuple[Page, list[str]]]:
    """A fresh page and what went wrong on it: console errors, exceptions, requests that failed or left the machine."""
    wrong: list[str] = []
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    opened.set_default_timeout(120_000)  # what is timed here is not the page: the other tests run beside it
    opened.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
    opened.on("pageerror", lambda e: wrong.append(str(e)))
    opened.on("requestfailed", lambda r: wrong.append(f"failed: {r.url}"))
    opened.on(
        "request",
        lambda r: (
            wrong.append(f"elsewhere: {r.url}")
            if not r.url.startswith(("http://127.0.0.1", "data:", "blob:"))
            else None
        ),
    )
    yield opened, wrong
    opened.close()


def gold(demo: dict[str, object]) -> GoldReader:
    return GoldReader(Path(str(demo["home"])) / "warehouse")


def url(demo: dict[str, object]) -> str:
    return str(demo["urls"]["dashboard"])  # type: ignore[index]


def test_overview_shows_the_figures_of_gold(demo: dict[str, object], page: tuple[Page, list[str]]) -> None:
    opened, wrong = page
    opened.goto(url(demo))
    opened.get_by_text("Plays a day").wait_for()
    opened.locator(CHART).first.wait_for()
    total = gold(demo).query("overview")[0]
    shown = opened.locator('[data-testid="stMetricValue"]').all_inner_texts()
    assert shown[0] == f"{total['total_plays']:,}" == "4,000"
    assert shown[1] == f"{total['minutes'] / 60:,.0f} h"
    assert shown[2:] == [f"{total[k]:,}" for k in ("unique_tracks", "unique_artists", "listeners")]
    assert opened.get_by_text("Devices").is_visible()
    opened.locator(CHART).nth(1).wait_for()
    assert opened.get_by_text(NO_DEVICE).count() == 0
    assert wrong == []


def test_no_figure_is_cut_off(account: dict[str, object], page: tuple[Page, list[str]]) -> None:
    opened, wrong = page
    opened.goto(url(account))
    opened.locator(CHART).first.wait_for()
    cards = opened.locator(CARD)
    for width in (600, 1024, 1280):
        opened.set_viewport_size({"width": width, "height": 900})
        wait_for(lambda: cards.evaluate_all(CUT) == [])
        assert cards.count() == 5
    assert cards.all_inner_texts()[0].split() == ["Plays", "20,000"]
    assert wrong == []


def test_an_account_export_explains_what_it_lacks(account: dict[str, object], page: tuple[Page, list[str]]) -> None:
    opened, _ = page
    opened.goto(url(account))
    opened.get_by_text(NO_DEVICE).wait_for()
    opened.get_by_role("link", name="Top Content").click()
    opened.get_by_role("tab", name="Albums").click()
    albums = opened.get_by_role("tabpanel", name="Albums")
    albums.get_by_text("an account export names no album").wait_for()
    assert albums.locator(CHART).count() == 0


def test_top_content_lists_what_gold_lists(demo: dict[str, object], page: tuple[Page, list[str]]) -> None:
    opened, wrong = page
    opened.goto(url(demo))
    opened.get_by_role("link", name="Top Content").click()
    opened.get_by_role("heading", name="Top Content").wait_for()
    expect(opened).to_have_title("Top Content · playlake")
    opened.locator(CHART).first.wait_for()
    for tab in ("Artists", "Albums", "Tracks"):
        opened.get_by_role("tab", name=tab).click()
        opened.get_by_role("tabpanel", name=tab).locator(CHART).first.wait_for()
    best = gold(demo).query("top_tracks", most=10)
    assert len(best) == 10
    cell = opened.get_by_role("tabpanel", name="Tracks").locator("[data-testid='data-grid-canvas'] td").first
    assert cell.text_content() == best[0]["track"]
    assert wrong == []


def test_a_long_cell_is_read_by_a_double_click(account: dict[str, object], page: tuple[Page, list[str]]) -> None:
    opened, _ = page
    opened.goto(f"{url(account)}/top-content")  # by its own address
    expect(opened).to_have_title("Top Content · playlake")
    tracks = opened.get_by_role("tabpanel", name="Tracks")
    tracks.get_by_text("Double-click a cell to read all of it").wait_for()
    table = tracks.locator(".dvn-scroller")
    table.dblclick(position={"x": 750, "y": 50})  # the first row's last column, which the window's edge cuts
    read = opened.locator("#portal textarea")
    read.wait_for()
    assert read.input_value() == gold(account).query("top_tracks", most=1)[0]["track_id"]


def test_before_the_first_build_the_page_says_what_to_do(tmp_path: Path, page: tuple[Page, list[str]]) -> None:
    cli = Cli(tmp_path / "home")
    process = cli.start("serve", "dashboard", "--json")
    assert process.stdout is not None
    address = json.loads(process.stdout.readline())["url"]
    opened, wrong = page

    def answers() -> bool:
        try:
            return httpx.get(f"{address}/_stcore/health").status_code == 200
        except httpx.TransportError:
            return False

    wait_for(answers)
    opened.goto(address)
    opened.get_by_text("Nothing has been published yet").wait_for()
    assert wrong == []
    end(process)
