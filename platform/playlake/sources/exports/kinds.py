"""What a row or a file of listening history is, recognised by its content.

Shapes: Spotify's account data and extended history (https://support.spotify.com/article/understanding-my-data/),
Spotify's API, Last.fm (its API, ghan.nl, benjaminbenben), ListenBrainz, Maloja, YouTube (Takeout), tables of plays.
"""

from __future__ import annotations

import io
import itertools
import json
import re
from contextlib import suppress
from typing import Any

from playlake.sources.exports.format import DamagedFileError
from playlake.sources.exports.rows import read_rows

ACCOUNT = "account data"
"""The one kind that is imported."""
PODCAST = "a podcast episode"
AUDIOBOOK = "a chapter of an audiobook"
EXTENDED = "extended streaming history"
LASTFM = "Last.fm history"
LISTENBRAINZ = "ListenBrainz history"
MALOJA = "a Maloja export"
API = "an answer of Spotify's API"
YOUTUBE = "YouTube history"
TABLE = "a table of plays (CSV)"

SAMPLE = 64 * 1024
"""Bytes of a file that are enough to tell what it is."""
_ROWS = 20
_BY_NAME = re.compile(r"(Streaming_History_|endsong|endvideo).*\.json$", re.IGNORECASE)
_TABLE = re.compile(r"(?i)(?=[^{}]*\bartist)(?=[^{}]*\b(track|song|title))[\w \"]+([,;\t|][\w \"()]*){2,}\s*$")
"""A first line that names columns: an artist, a track and at least one more."""
_LASTFM_LINE = re.compile(r'.+,.*,.+,"?\d{1,2} [A-Z][a-z]{2} \d{4},? \d{2}:\d{2}"?$')


def kind_of(row: Any) -> str | None:
    """The kind of history that a row belongs to; None where it is no such row."""
    if not isinstance(row, dict):
        return None
    if "episodeName" in row or "podcastName" in row:
        return PODCAST
    if "audiobookName" in row or "chapterName" in row:
        return AUDIOBOOK
    if "ms_played" in row and ("ts" in row or "master_metadata_track_name" in row):
        return EXTENDED
    if "track_metadata" in row and "listened_at" in row:
        return LISTENBRAINZ
    if "endTime" in row and ("msPlayed" in row or "trackName" in row):
        return ACCOUNT
    track = row.get("track")
    if isinstance(track, dict) and "played_at" in row:
        return API
    if str(row.get("header", "")).startswith("YouTube") and "title" in row:
        return YOUTUBE
    if isinstance(track, list) and ("@attr" in row or any(isinstance(t, dict) and "artist" in t for t in track[:1])):
        return LASTFM
    return None


def kind_of_file(name: str, sample: bytes) -> str | None:
    """The kind of history that a file holds.

    :param sample: its first :data:`SAMPLE` bytes.
    """
    text = sample.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith(b"["):
        kinds = [kind for row in _first_rows(sample) if (kind := kind_of(row))]
        if kinds:
            return kinds[0]
    elif text.startswith(b"{"):
        if b'"scrobbles"' in text and b'"maloja"' in text:
            return MALOJA
        if b'"recenttracks"' in text:
            return LASTFM
        if b'"played_at"' in text and b'"track"' in text:
            return API
        if kind := kind_of(_whole(text.split(b"\n", 1)[0])):
            return kind
    elif re.match(rb'"?uts"?,', text) or _LASTFM_LINE.match(text.split(b"\n", 1)[0].decode(errors="replace").strip()):
        return LASTFM
    elif _TABLE.match(text.split(b"\n", 1)[0].decode(errors="replace")):
        return TABLE
    return EXTENDED if _BY_NAME.match(name) else None


def _first_rows(sample: bytes) -> list[Any]:
    rows: list[Any] = []
    with suppress(DamagedFileError):  # the sample ends within a row
        rows.extend(itertools.islice(read_rows(io.BytesIO(sample)), _ROWS))
    return rows


def _whole(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
