"""Stable ids: what identifies a play at its source always yields the same id, however often it is fetched."""

from __future__ import annotations

import unicodedata
import uuid

_EVENTS = uuid.uuid5(uuid.NAMESPACE_URL, "https://playlake.dev/ns/event")
_TRACKS = uuid.uuid5(uuid.NAMESPACE_URL, "https://playlake.dev/ns/track")
_SEPARATOR = "\x1f"

SURROGATE_PREFIX = "surrogate:"
"""Marks a track id that was made from artist and title because the source gives none."""


def event_id(*parts: object) -> str:
    """UUIDv5 of what identifies an event at its source.

    :param parts: the source's name first, then what is unique there, in a fixed order.
    """
    return str(uuid.uuid5(_EVENTS, _SEPARATOR.join(map(str, parts))))


def surrogate_track_id(artist_name: str, track_name: str) -> str:
    """A track id for sources that name artist and title only; equal names in any Unicode form give equal ids."""
    text = _SEPARATOR.join(unicodedata.normalize("NFC", part) for part in (artist_name, track_name))
    return SURROGATE_PREFIX + uuid.uuid5(_TRACKS, text).hex


def id_bytes(event_id: str) -> bytes:
    """An event's id in 16 bytes, for large sets of them; ids of other makers that are no UUID are kept as text."""
    try:
        return uuid.UUID(event_id).bytes
    except ValueError:
        return event_id.encode()
