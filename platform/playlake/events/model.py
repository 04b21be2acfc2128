"""The events as they are on Kafka: JSON, one a message, validated field by field.

A message that is not valid raises :class:`InvalidEventError` with a reason fit for a dead letter. A field that a source
does not know is null. Fields that are not ours are kept, as JSON text, in :attr:`Event.extra`.
"""

from __future__ import annotations

import json
import math
import re
import typing
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from playlake.events.reasons import NotANumber, reason_of, reason_of_no_json, shown

PLAYS = "user_plays"
SKIPS = "user_skips"
LIKES = "user_likes"
NOW_PLAYING = "currently_playing"
TOPICS = (PLAYS, SKIPS, LIKES, NOW_PLAYING)

Source = Literal[
    "spotify_recent",
    "spotify_player",
    "export_extended",
    "export_account",
    "lastfm",
    "listenbrainz",
    "maloja",
    "simulator",
]

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
"""Older than any listening record we know of; 1970 is how sources write a time they do not know."""
EARLIEST_US = int(EARLIEST.timestamp()) * 1_000_000
FUTURE_TOLERANCE = timedelta(days=1)
"""How far ahead of its message's own time stamp a play may lie: clocks differ, years do not."""

MAX_BYTES = 1024 * 1024
"""The largest message that is an event, as Kafka's own default has it: a field that nobody knows would carry the rest
into every reader's way."""
MAX_TEXT = 4096
"""Characters that an id or a name may have."""

Text = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT)]
Utc = Annotated[datetime, Meta(tz=True)]
Long = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


class InvalidEventError(ValueError):
    """A message that can't be an event; the text is the reason."""


class Event(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A play, a skip or a like. Times are UTC, lengths milliseconds."""

    event_id: Text
    user_id: Text
    event_type: Literal["play", "skip", "like"]
    track_id: Text
    track_name: str
    artist_name: str
    album_name: str | None
    duration_ms: Long | None
    played_at: Utc
    device_type: str | None
    schema_version: Long | None = None
    source: Source | None = None
    ms_played: Long | None = None
    started_at: Utc | None = None
    ended_at: Utc | None = None
    time_precision_s: float | None = None
    isrc: str | None = None
    album_image_url: str | None = None
    reason_start: str | None = None
    reason_end: str | None = None
    skipped: bool | None = None
    context_uri: str | None = None
    country: str | None = None
    extra: str | None = None


class CurrentlyPlaying(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a listener's player showed at ``detected_at``."""

    user_id: Text
    track_id: Text
    track_name: str
    artist: str
    started_at: Utc | None
    detected_at: Utc
    extra: str | None = None


LAST_MS = 253_370_764_800_000  # 9999-01-01
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.fromtimestamp(LAST_MS / 1000, tz=UTC)
"""Between them lies every moment that all who read the lake can hold, in UTC and rounded to what they round to."""
FUTURE_US = int(FUTURE_TOLERANCE.total_seconds()) * 1_000_000


def utc_from_ms(milliseconds: int) -> datetime:
    """A Kafka time stamp as UTC; producers may send any 64-bit number, so it is clamped to what a date can hold."""
    return datetime.fromtimestamp(min(max(milliseconds, 0), LAST_MS) / 1000, tz=UTC)


BY_TOPIC: dict[str, type[Event] | type[CurrentlyPlaying]] = {
    PLAYS: Event,
    SKIPS: Event,
    LIKES: Event,
    NOW_PLAYING: CurrentlyPlaying,
}
_TYPES = {PLAYS: "play", SKIPS: "skip", LIKES: "like"}
_DECODERS = {topic: msgspec.json.Decoder(kind) for topic, kind in BY_TOPIC.items()}
_FIELDS = {topic: frozenset(kind.__struct_fields__) - {"extra"} for topic, kind in BY_TOPIC.items()}
_ENCODER = msgspec.json.Encoder()


def _is_time(hint: Any) -> bool:
    return hint == Utc or Utc in typing.get_args(hint)


# What the types above say, for whoever checks many events at once.
REQUIRED = {
    topic: tuple(f.name for f in msgspec.structs.fields(kind) if f.required) for topic, kind in BY_TOPIC.items()
}
TEXTS = {
    topic: tuple(name for name, hint in typing.get_type_hints(kind, include_extras=True).items() if hint == Text)
    for topic, kind in BY_TOPIC.items()
}
CHOICES: dict[str, dict[str, tuple[str, ...]]] = {
    **{topic: {"event_type": (name,), "source": typing.get_args(Source)} for topic, name in _TYPES.items()},
    NOW_PLAYING: {},
}
TIMES = {
    topic: tuple(name for name, hint in typing.get_type_hints(kind, include_extras=True).items() if _is_time(hint))
    for topic, kind in BY_TOPIC.items()
}
WHEN = {topic: "detected_at" if topic == NOW_PLAYING else "played_at" for topic in TOPICS}
"""The field that says when it was, by topic."""


def encode(event: Event | CurrentlyPlaying) -> bytes:
    """The message's bytes."""
    if event.extra is None:
        return _ENCODER.encode(event)  # an optional field that is null is left out
    fields = msgspec.to_builtins(msgspec.structs.replace(event, extra=None))
    return extra_text({**json.loads(event.extra), **fields}).encode()


def decode(topic: str, value: bytes | None, timestamp_ms: int) -> Event | CurrentlyPlaying:
    """Read one message of ``topic``.

    :param timestamp_ms: the message's own time, milliseconds since 1970; a play may not lie a day or more after it.
    :raises InvalidEventError: with the reason.
    """
    if value is None:
        raise InvalidEventError("the message has no value")
    if len(value) > MAX_BYTES:
        raise InvalidEventError(f"the message is too large for an event: {len(value):,} bytes of at most {MAX_BYTES:,}")
    try:
        event = _DECODERS[topic].decode(value)
        if event.extra is not None or (b'"extra"' in value and "extra" in msgspec.json.decode(value)):
            event = _with_extras(topic, msgspec.json.decode(value))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        event = _with_extras(topic, _lenient(value))
    _check(topic, event, timestamp_ms)
    return event


def _lenient(value: bytes) -> Any:
    """What a message holds, whatever stands in fields that are not the event's own.

    Half of a character's pair and bytes that are not UTF-8 are lone surrogates in it; what is no number is
    :class:`NotANumber`.
    """
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return _LENIENT.decode(value.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError) as error:
        raise InvalidEventError(reason_of_no_json(error, value)) from error


def _finite(text: str) -> float | NotANumber:
    number = float(text)
    return number if math.isfinite(number) else NotANumber(text)


_LENIENT = json.JSONDecoder(parse_constant=NotANumber, parse_float=_finite)
_NO_CHARACTER = re.compile("[\ud800-\udfff]")


def _with_extras(topic: str, fields: Any) -> Event | CurrentlyPlaying:
    kind = BY_TOPIC[topic]
    own = {n: v for n, v in fields.items() if n in _FIELDS[topic]} if isinstance(fields, dict) else {}
    for name, value in own.items():
        if isinstance(value, str) and _NO_CHARACTER.search(value):
            raise InvalidEventError(f"{name} holds what is no character: {shown(value)}")
    try:
        event = msgspec.convert(own if isinstance(fields, dict) else fields, kind, str_keys=True)
    except msgspec.ValidationError as error:
        raise InvalidEventError(reason_of(error, fields, kind)) from error
    extras = {n: v for n, v in fields.items() if n not in own}
    return msgspec.structs.replace(event, extra=extra_text(extras)) if extras else event


def extra_text(fields: dict[str, Any]) -> str:
    """Fields that are not the event's own, as the JSON of :attr:`Event.extra`; a number that is none is null."""
    try:
        return msgspec.json.encode(fields, enc_hook=lambda _value: None).decode()
    except UnicodeEncodeError:  # as escapes, what is no character can be kept
        return json.dumps(fields, separators=(",", ":"), default=lambda _value: None)


def _check(topic: str, event: Event | CurrentlyPlaying, timestamp_ms: int) -> None:
    if isinstance(event, Event):
        if event.event_type != _TYPES[topic]:
            raise InvalidEventError(f"event_type is not that of the topic {topic}: {shown(event.event_type)}")
        name, at = WHEN[topic], event.played_at
    else:
        name, at = WHEN[topic], event.detected_at
    if at < EARLIEST:
        raise InvalidEventError(f"{name} lies before {EARLIEST.year}, an unknown time: {at.isoformat()}")
    sent = utc_from_ms(timestamp_ms)
    if at > sent + FUTURE_TOLERANCE:
        if sent < EARLIEST:
            raise InvalidEventError(
                f"the message's own time lies before {EARLIEST.year}, so its producer does not set it to milliseconds"
                f" since 1970: {sent.isoformat()} ({timestamp_ms}); {name} is {at.isoformat()}"
            )
        raise InvalidEventError(
            f"{name} lies in the future of its message: {at.isoformat()}, sent at {sent.isoformat(timespec='seconds')}"
        )
    for time in TIMES[topic]:
        given = getattr(event, time)
        if given is not None and not _FIRST <= given <= _LAST:
            raise InvalidEventError(f"{time} is no time that can be kept: {given.isoformat()}")
