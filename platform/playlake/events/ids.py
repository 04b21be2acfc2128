"""Stable ids: what identifies a play at its source always yields the same id, however often it is fetched."""

from __future__ import annotations

import hashlib
import unicodedata
import uuid

_EVENTS = uuid.uuid5(uuid.NAMESPACE_URL, "https://playlake.dev/ns/event")
_SEPARATOR = "\x1f"

INVISIBLE = (
    "\u00ad\u034f\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2061\u2062\u2063"
    "\u2064\u2066\u2067\u2068\u2069\ufe0e\ufe0f\ufeff"
)
"""Soft hyphen, joiners, zero-width and direction marks, variation selectors, byte order mark."""
BLANKS = (
    "\t\n\x0b\x0c\r\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f"
    "\u205f\u3000"
)
_ALIKE = {0x130: "i", 0x3C2: "\u03c3"}
_UNSEEN = str.maketrans(BLANKS, " " * len(BLANKS), INVISIBLE)

SURROGATE_PREFIX = "surrogate:"
"""Marks a track id that was made from artist and title because the source gives none."""
_FORM = "2-"
"""Tells these ids from those of earlier releases, which other spellings of the names made other ones."""


def event_id(*parts: object) -> str:
    """UUIDv5 of what identifies an event at its source.

    :param parts: the source's name first, then what is unique there, in a fixed order.
    """
    return str(uuid.uuid5(_EVENTS, _SEPARATOR.join(map(str, parts))))


def same_name(name: str) -> str:
    """A name as it is compared: equal for all spellings of one name. ``dbt/macros/names.sql`` says the same in SQL.

    Case, Unicode form, blanks and characters that nobody sees do not count.
    """
    seen = unicodedata.normalize("NFC", name.translate(_UNSEEN)).translate(_ALIKE)
    lower = "".join(map(str.lower, seen))  # letter by letter: a sigma at a word's end is one as any other
    return " ".join(part for part in lower.split(" ") if part)


def surrogate_track_id(artist_name: str, track_name: str) -> str:
    """A track id for sources that name artist and title only; equal for all spellings of the same names."""
    text = _SEPARATOR.join(map(same_name, (artist_name, track_name)))
    return SURROGATE_PREFIX + _FORM + hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def id_bytes(event_id: str) -> bytes:
    """An event's id in 16 bytes, for large sets of them; ids of other makers that are no UUID are kept as text."""
    try:
        return uuid.UUID(event_id).bytes
    except ValueError:
        return event_id.encode()
