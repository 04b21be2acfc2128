"""The pages by Streamlit's AppTest, on a gold of simulated listening. Chromium opens them in tests/systems/browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app.dashboard import data
from playlake.settings import ROOT
from playlake.warehouse.build import folder
from playlake.warehouse.reader import GoldReader
from tests.support.commands import Cli

TOP_CONTENT = "from app.dashboard import top_content\ntop_content.show()\n"


@pytest.fixture(scope="module")
def built(cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """A lake with a published build, two plays of which have no name."""
    rows = [
        {
            "endTime": f"2026-01-01 10:0{n}",
            "artistName": "Unknown Artist",
            "trackName": "Unknown Track",
            "msPlayed": 10**6,
        }
        for n in range(2)
    ]
    export = tmp_path_factory.mktemp("export") / "StreamingHistory0.json"
    export.write_text(json.dumps(rows))
    cli("simulate", "--plays", "1000", "--listeners", "8")
    cli("import", str(export))
    cli("land", "--until-idle")
    cli("build")
    return cli


@pytest.fixture(autouse=True)
def no_reader_left() -> Iterator[None]:
    """Each test has a reader of its own home."""
    for cached in (data.reader, data.time_zone):
        cached.clear()
    yield
    data.reader().close()
    for cached in (data.reader, data.time_zone):
        cached.clear()


def opened(home: Path, monkeypatch: pytest.MonkeyPatch, script: str | None = None) -> AppTest:
    """A page after its first run, which raised nothing: the dashboard's first, or another by a script."""
    monkeypatch.setenv("PLAYLAKE_HOME", str(home))
    made = AppTest.from_string(script) if script else AppTest.from_file(ROOT / "app" / "dashboard" / "main.py")
    page = made.run(timeout=120)
    assert [e.value for e in page.exception] == []
    return page


def test_overview_shows_the_figures_of_gold(built: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened(built.home, monkeypatch)
    with_gold = GoldReader(folder(built.settings()))
    total = with_gold.query("overview")[0]
    with_gold.close()
    assert {m.label: m.value for m in page.metric} == {
        "Plays": f"{total['total_plays']:,}",
        "Listening time": f"{total['minutes'] / 60:,.0f} h",
        "Tracks": f"{total['unique_tracks']:,}",
        "Artists": f"{total['unique_artists']:,}",
        "Listeners": f"{total['listeners']:,}",
    }
    assert page.metric[0].value == "1,002"
    assert "build 1" in page.sidebar.caption[0].value


def test_top_content_lists_what_gold_lists(built: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened(built.home, monkeypatch, TOP_CONTENT)
    with_gold = GoldReader(folder(built.settings()))
    best = with_gold.query("top_tracks", most=10)
    with_gold.close()
    assert [tab.label for tab in page.tabs] == ["Tracks", "Artists", "Albums"]
    [table] = page.tabs[0].dataframe
    assert list(table.value["track"][:10]) == [row["track"] for row in best]
    assert "Unknown Track" not in set(table.value["track"])
    assert page.caption[0].value.startswith("2 plays (0.6 h) are not named by the source")


@pytest.mark.parametrize("script", [None, TOP_CONTENT])
def test_before_the_first_build_a_page_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None
) -> None:
    page = opened(tmp_path / "home", monkeypatch, script)
    assert "Nothing has been published yet: run `playlake build`" in page.info[0].value
