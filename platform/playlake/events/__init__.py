"""What a play, a skip and a like are: schema, validation, ids. No input or output here."""

from playlake.events.ids import event_id, id_bytes, surrogate_track_id
from playlake.events.model import (
    BY_TOPIC,
    LIKES,
    NOW_PLAYING,
    PLAYS,
    SKIPS,
    TOPICS,
    CurrentlyPlaying,
    Event,
    InvalidEventError,
    decode,
    encode,
)

__all__ = [
    "BY_TOPIC",
    "LIKES",
    "NOW_PLAYING",
    "PLAYS",
    "SKIPS",
    "TOPICS",
    "CurrentlyPlaying",
    "Event",
    "InvalidEventError",
    "decode",
    "encode",
    "event_id",
    "id_bytes",
    "surrogate_track_id",
]
