"""One name in several spellings is one track, artist and album; what a source has no name for is none."""

from __future__ import annotations

import itertools
import random
import unicodedata
from pathlib import Path

import pytest

from playlake import events
from playlake.events.ids import same_name
from tests.models.warehouse import Warehouse, play

SPELLINGS = [
    ("Sigur Rós", "Sæglópur"),
    ("SIGUR RÓS", "sæglópur"),
    (unicodedata.normalize("NFD", "Sigur Rós"), unicodedata.normalize("NFD", "Sæglópur")),
    ("\ufeffSigur Rós", "Sæglópur\u200b"),
    ("Sigur\u00a0Rós", "\u200eSæglópur\u200e"),
    (" Sigur  Rós\t", "Sæ\u00adglópur "),
    ("Sigur\u3000Rós", "Sæglópur\ufe0f"),
]
UNNAMED = [
    ("Unknown Artist", "Unknown Track"),
    ("unknown artist", "UNKNOWN  TRACK"),
    ("Unknown Author", "Unknown Book"),
    ("Unknown Author", "Unknown Chapter"),
    ("Unknown Artist\u200b", "Unknown Track\u00a0"),
    ("", "Unknown Track"),
    ("Unknown Show", "Unknown Episode"),
    ("<unknown>", "<unknown>"),
    ("[unknown]", "[Unknown]"),
    ("Unknown Artist", ""),
    ("Somebody", "\u200b "),
    ("Somebody", "    "),
    ("\u3000" * 4, "\u200b" * 4),
]


def export(number: int, artist: str, title: str, *, former: bool = False) -> events.Event:
    """A play as an account export tells of it; ``former``: with an id as earlier releases made them."""
    track_id = f"surrogate:{number:032x}" if former else events.surrogate_track_id(artist, title)
    return play(
        f"2025-03-{1 + number // 24:02}T{number % 24:02}:00",
        event_id=f"e-{number}",
        track_id=track_id,
        artist_name=artist,
        track_name=title,
        album_name="Takk\u2026" if number % 2 else "takk\u2026\u200b",
        duration_ms=None,
        source="export_account",
        time_precision_s=60.0,
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """Each spelling twice (once by an id of before), each placeholder three times, and a real title like one."""
    made = Warehouse.at(tmp_path_factory.mktemp("names") / "warehouse")
    number = itertools.count()
    plays = [export(next(number), *names, former=former) for names in SPELLINGS for former in (False, True)]
    plays += [export(next(number), *names) for names in UNNAMED for _ in range(3)]
    plays.append(export(next(number), "Unknown Artist", "A Real Title"))
    plays.append(export(next(number), "Somebody", "Unknown Track"))
    made.land(plays)
    made.run("build")
    return made


def test_the_spellings_of_a_song_are_one_track(built: Warehouse) -> None:
    found = built.rows("select track_id, play_count from gold.track_popularity order by play_count desc limit 1")
    assert found == [(events.surrogate_track_id(*SPELLINGS[0]), 2 * len(SPELLINGS))]
    assert len({events.surrogate_track_id(*names) for names in SPELLINGS}) == 1
    artists = built.rows("select artist_name, play_count from gold.artist_stats order by play_count desc")
    assert artists == [(artists[0][0], 2 * len(SPELLINGS)), ("Somebody", 7)]
    assert same_name(artists[0][0]) == "sigur rós"
    assert built.rows(
        "select count(*) from gold.album_popularity where artist_name = (select artist_name from gold.artist_stats"
        " order by play_count desc limit 1)"
    ) == [(1,)]


def test_an_id_of_before_leads_to_the_track(built: Warehouse) -> None:
    aliases = dict(built.rows("select former_track_id, track_id from gold.track_aliases"))
    assert len(aliases) == len(SPELLINGS)
    assert set(aliases.values()) == {events.surrogate_track_id(*SPELLINGS[0])}


def test_what_has_no_name_is_listening_and_nothing_else(built: Warehouse) -> None:
    unnamed = 3 * len(UNNAMED)
    assert built.rows("select play_count from gold.unnamed_plays") == [(unnamed,)]
    assert built.rows("select sum(total_plays) from gold.user_daily_listening") == [(2 * len(SPELLINGS) + unnamed + 2,)]
    titles = {title for (title,) in built.rows("select track_name from gold.track_popularity")}
    assert len(titles) == 3
    assert {"A Real Title", "Unknown Track"} < titles, "a title is one where it has an artist, or where it says more"
    for table in ("first_listens", "track_similarity", "skip_rates", "forgotten_favourites"):
        assert not built.rows(
            f"select * from gold.{table} inner join silver.silver_plays using (track_id)"
            " where silver_plays.artist_name ilike '%unknown a%' and silver_plays.track_name ilike 'unknown%'"
        ), table


def test_sql_and_python_call_the_same_names_the_same(tmp_path: Path) -> None:
    rng = random.Random(5)
    letters = "aAbB é\u0301\u200b\u00a0\u3000ΣςσİıK\u212bǅǆ\ufb01\u1100\u1161\u0130\u00adẞß\ufe0f❤😀\u202e\t'%_"
    names = ["".join(rng.choice(letters) for _ in range(rng.randint(1, 9))) for _ in range(3_000)]
    made = Warehouse.at(tmp_path / "warehouse")
    plays = [export(0, "Artist", name, former=True) for name in names]
    made.land(
        type(p)(**{**{f: getattr(p, f) for f in p.__struct_fields__}, "event_id": f"n-{n}"})
        for n, p in enumerate(plays)
    )
    made.run("run", "--select", "silver_events")
    found = made.rows("select track_name, track_id from silver.silver_events")
    assert [n for n, i in found if i != events.surrogate_track_id("Artist", n)] == []
