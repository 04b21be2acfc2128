"""Spotify's account-data export: ``StreamingHistory*.json``, the last year of listening.

A row is ``{"endTime": "2021-04-22 05:41", "artistName": …, "trackName": …, "msPlayed": …}``: the play's end, UTC, to
the minute (https://support.spotify.com/article/understanding-my-data/). Track id, length, album and device are not in
it, so they are null in the event.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import IO, Any

from playlake import events
from playlake.events.model import EARLIEST, MAX_TEXT
from playlake.events.reasons import shown
from playlake.sources.exports.format import Outcome, Refused
from playlake.sources.exports.kinds import ACCOUNT, kind_of
from playlake.sources.exports.rows import BrokenRow, read_rows, why_no_text

_NAME = re.compile(r"StreamingHistory(?:_music_|_podcast_|_audiobook_)?(\d*).*\.json$", re.IGNORECASE)
_FORM = "%Y-%m-%d %H:%M"
_WINDOW = timedelta(days=1)
_MOST_SEEN = 50_000
"""Rows remembered before those of more than a day ago are forgotten: five times what Spotify puts into a file."""
_Key = tuple[str, str, str, int]


def _why_no_name(text: str) -> str | None:
    if not text:
        return "is empty"
    if len(text) > MAX_TEXT:
        return f"is over {MAX_TEXT} characters"
    return why_no_text(text)


class AccountExport:
    """Reads the files of one account-data export.

    Two identical rows in one minute can be genuine (a short track played twice), so each further one gets an occurrence
    number, which is part of its id. Numbers are counted within a file, and go on in the next one for the minute at
    which Spotify cut the history in two. A file that begins before the ones before it ended is another copy of the same
    listening: it counts anew, and so gets the same ids.
    """

    name = "export_account"
    kind = ACCOUNT

    def __init__(self) -> None:
        self._seen: Counter[_Key] = Counter()
        self._latest = ""
        """The last minute of the files before this one, and how often each row stood in it."""
        self._in_latest: Counter[_Key] = Counter()
        self._prune_at = _MOST_SEEN

    def matches(self, filename: str) -> bool:
        """``StreamingHistory0.json``, ``StreamingHistory_music_0.json`` and their like."""
        return _NAME.match(filename) is not None

    def order(self, filename: str) -> tuple[int, str]:
        """By the number in the name, so that 10 follows 9."""
        found = _NAME.match(filename)
        return (int(found[1]) if found and found[1] else 0, filename)

    def read(self, file: IO[bytes], user_id: str) -> Iterator[Outcome]:
        """See :meth:`playlake.sources.exports.format.Format.read`."""
        self._seen.clear()
        first = last = ""
        for row in read_rows(file):
            outcome = self._outcome(row, user_id)
            if isinstance(outcome, Refused):
                yield outcome
                continue
            key = (row["endTime"], row["artistName"], row["trackName"], row["msPlayed"])
            if not first:
                first = last = key[0]
                if first == self._latest:
                    self._seen.update(self._in_latest)
            last = max(last, key[0])
            yield self._event(key, outcome, user_id, self._occurrence(key))
        self._remember(first, last)

    def _remember(self, first: str, last: str) -> None:
        """Keep the last minute for the next file. A file of one minute has none: a copy of it would look the same."""
        if first < last and last >= self._latest:
            self._latest = last
            self._in_latest = Counter({key: n for key, n in self._seen.items() if key[0] == last})

    def _outcome(self, row: Any, user_id: str) -> datetime | Refused:
        """When the play ended, or why it is none."""
        if isinstance(row, BrokenRow):
            return Refused(row.reason, row.text)
        if not isinstance(row, dict):
            return Refused("not a JSON object", row, shown(row))
        kind = kind_of(row)
        if kind not in (None, ACCOUNT):
            return Refused(f"{kind}, which is not imported yet", row)
        for name, wanted in (("endTime", str), ("artistName", str), ("trackName", str), ("msPlayed", int)):
            if name not in row:
                return Refused(f"{name} is missing", row)
            value = row[name]
            if wanted is int and isinstance(value, float) and value.is_integer():
                value = row[name] = int(value)  # as spreadsheets and pandas write it
            if not isinstance(value, wanted) or isinstance(value, bool):
                return Refused(f"{name} is not {'text' if wanted is str else 'a whole number'}", row, shown(value))
            if name in ("artistName", "trackName") and (why := _why_no_name(value)):
                return Refused(f"{name} {why}", row, shown(value) if value else None)
        try:
            ended = datetime.strptime(row["endTime"], _FORM).replace(tzinfo=UTC)
        except ValueError:
            return Refused("endTime is not a time of the form 2021-04-22 05:41", row, shown(row["endTime"]))
        if not EARLIEST <= ended <= datetime.now(UTC) + _WINDOW:
            return Refused("endTime is before 2000 or in the future", row, shown(row["endTime"]))
        if not 0 <= row["msPlayed"] < 2**53:
            return Refused("msPlayed is not a number of milliseconds from 0 to 2^53", row, shown(row["msPlayed"]))
        return ended

    def _event(self, key: _Key, ended: datetime, user_id: str, occurrence: int) -> events.Event:
        _, artist, title, played = key
        return events.Event(
            event_id=events.event_id(self.name, user_id, *key, occurrence),
            user_id=user_id,
            event_type="play",
            track_id=events.surrogate_track_id(artist, title),
            track_name=title,
            artist_name=artist,
            album_name=None,
            duration_ms=None,
            played_at=ended,
            device_type=None,
            schema_version=1,
            source="export_account",
            ms_played=played,
            ended_at=ended,
            time_precision_s=60.0,
        )

    def _occurrence(self, key: _Key) -> int:
        """How many identical rows came before this one."""
        if len(self._seen) > self._prune_at:
            horizon = (datetime.strptime(key[0], _FORM) - _WINDOW).strftime(_FORM)
            self._seen = Counter({k: n for k, n in self._seen.items() if k[0] >= horizon})
            self._prune_at = max(_MOST_SEEN, 2 * len(self._seen))
        number = self._seen[key]
        self._seen[key] += 1
        return number
