"""Events on Kafka: what is valid is read, what is not gives a reason, and nothing else ever happens."""

from __future__ import annotations

import json
import unicodedata
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import settings as h
from hypothesis import strategies as st

from playlake.events import (
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
    event_id,
    id_bytes,
    surrogate_track_id,
)
from playlake.events.model import utc_from_ms

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
AT_MS = int(AT.timestamp() * 1000)
PLAY: dict[str, Any] = {
    "event_id": "e1",
    "user_id": "u1",
    "event_type": "play",
    "track_id": "t1",
    "track_name": "Song",
    "artist_name": "Band",
    "album_name": None,
    "duration_ms": 180_000,
    "played_at": "2026-01-01T12:00:00Z",
    "device_type": None,
}
SHOWN: dict[str, Any] = {
    "user_id": "u1",
    "track_id": "t1",
    "track_name": "Song",
    "artist": "Band",
    "started_at": None,
    "detected_at": "2026-01-01T12:00:00Z",
}


def read(fields: object, topic: str = PLAYS) -> Event | CurrentlyPlaying:
    return decode(topic, json.dumps(fields).encode(), AT_MS)


@pytest.mark.parametrize(("topic", "kind"), [(PLAYS, "play"), (SKIPS, "skip"), (LIKES, "like")])
def test_plays_skips_and_likes(topic: str, kind: str) -> None:
    event = read(PLAY | {"event_type": kind}, topic)
    assert isinstance(event, Event)
    assert (event.event_type, event.played_at, event.duration_ms) == (kind, AT, 180_000)
    assert (event.album_name, event.extra, event.ms_played) == (None, None, None)


def test_currently_playing() -> None:
    shown = read(SHOWN, NOW_PLAYING)
    assert isinstance(shown, CurrentlyPlaying)
    assert (shown.artist, shown.started_at, shown.detected_at) == ("Band", None, AT)


def test_another_time_zone_is_the_same_moment() -> None:
    event = read(PLAY | {"played_at": "2026-01-01T14:00:00+02:00"})
    assert isinstance(event, Event)
    assert event.played_at == AT


def without(name: str, fields: dict[str, Any] = PLAY) -> dict[str, Any]:
    return {k: v for k, v in fields.items() if k != name}


def raw(fields: object = PLAY) -> bytes:
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    ("value", "why"),
    [
        pytest.param(None, "no value", id="no value"),
        pytest.param(b"", "not JSON", id="empty"),
        pytest.param(b'{"event_id": ', "not JSON", id="cut off"),
        pytest.param(b"\xff\xfe\x00", "not JSON", id="binary"),
        pytest.param(
            raw().replace(b"Song", b"\xffong"),
            r'track_name holds what is no character: "\\udcffong"',
            id="bad UTF-8",
        ),
        pytest.param(b"[" * 100_000, "not JSON.*recursion", id="deep"),
        pytest.param(b'{"a":' * 100_000, "not JSON.*recursion", id="deep objects"),
        pytest.param(raw()[:-1] + b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "recursion", id="deep extra"),
        pytest.param(b"null", "not an event, which is a JSON object: null", id="null"),
        pytest.param(b"[]", "not an event, .*: \\[\\]", id="array"),
        pytest.param(b"5", "not an event, .*: 5", id="number"),
        pytest.param(raw(without("track_id")), "^track_id is missing$", id="missing field"),
        pytest.param(
            raw(PLAY | {"event_id": ""}), '^event_id is not text of 1 to 4,096 characters: ""$', id="empty id"
        ),
        pytest.param(
            raw(PLAY | {"duration_ms": "5"}), '^duration_ms is not a whole number of 64 bits: "5"$', id="wrong type"
        ),
        pytest.param(raw(PLAY | {"track_name": None}), "^track_name is not text: null$", id="null where none may be"),
        pytest.param(
            raw(PLAY | {"source": "elsewhere"}),
            '^source is not one of spotify_recent, .*, simulator: "elsewhere"$',
            id="unknown source",
        ),
        pytest.param(
            raw(PLAY | {"duration_ms": 2**63}),
            "^duration_ms is not a whole number of 64 bits: 9223372036854775808$",
            id="beyond 64 bits",
        ),
        pytest.param(
            raw(PLAY | {"duration_ms": 10**30}),
            "^duration_ms is not a whole number of 64 bits: 1000",
            id="huge integer",
        ),
        pytest.param(raw().replace(b"180000", b"1" + b"0" * 5000), "not JSON.*digits", id="absurd integer"),
        pytest.param(
            raw(PLAY | {"played_at": "2026-01-01T12:00:00"}),
            '^played_at is not a time with its zone, like 2026-01-31T20:15:00Z .RFC 3339.: "2026-01-01T12:00:00"$',
            id="no time zone",
        ),
        pytest.param(raw(PLAY | {"played_at": "yesterday"}), '^played_at is not a time .*: "yesterday"$', id="no time"),
        pytest.param(
            raw(PLAY | {"played_at": "1970-01-01T00:00:00Z"}),
            "played_at lies before 2000, an unknown time: 1970",
            id="1970",
        ),
        pytest.param(
            raw(PLAY | {"played_at": "2099-01-01T00:00:00Z"}),
            "played_at lies in the future of its message: 2099",
            id="2099",
        ),
        pytest.param(raw(PLAY | {"played_at": "0001-01-01T00:00:00+23:59"}), "unknown time", id="first year"),
        pytest.param(raw(PLAY | {"played_at": "9999-12-31T23:59:59-23:59"}), "future", id="last year"),
        *[
            pytest.param(raw(PLAY | {name: at}), f"{name} is no time that can be kept: {at[:4]}", id=f"{name} {at}")
            for name in ("started_at", "ended_at")
            for at in ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:00:00-02:00", "0001-01-01T00:00:00+14:00")
        ],
        pytest.param(raw(PLAY | {"event_type": "like"}), 'topic user_plays: "like"', id="type of another topic"),
        pytest.param(
            raw(PLAY | {"event_type": "dance"}),
            '^event_type is not one of play, skip, like: "dance"$',
            id="unknown type",
        ),
        pytest.param(
            raw(PLAY | {"track_name": "\ud800"}),
            r'^track_name holds what is no character: "\\ud800"$',
            id="lone surrogate",
        ),
        pytest.param(raw(PLAY | {"duration_ms": float("nan")}), "64 bits: NaN$", id="no number"),
        pytest.param(
            raw(PLAY | {"track_name": float("-inf")}), "^track_name is not text: -Infinity$", id="no number for a name"
        ),
        pytest.param(raw(PLAY | {"track_id": "x" * 5000}), '4,096 characters: "x{58}…$', id="long id"),
    ],
)
def test_bad_messages_have_a_reason(value: bytes | None, why: str) -> None:
    with pytest.raises(InvalidEventError, match=why):
        decode(PLAYS, value, AT_MS)


def test_no_json_says_where_and_what_stands_there() -> None:
    value = raw().replace(b'"Song"', b"Song")
    with pytest.raises(InvalidEventError, match=f'at character {value.index(b"Song")}, "Song,'):
        decode(PLAYS, value, AT_MS)


@pytest.mark.parametrize("sent_ms", [0, 1, -1, AT_MS // 1000])
def test_a_wrong_time_of_the_message_is_named(sent_ms: int) -> None:
    with pytest.raises(InvalidEventError, match=rf"^the message's own time lies before 2000, .*: 19.*\({sent_ms}\)"):
        decode(PLAYS, raw(), sent_ms)


@pytest.mark.parametrize(
    "more",
    [
        b'"more": "\xff"',
        b'"more": "\xed\xa0\xbc"',
        rb'"more": "cut \ud83c"',
        rb'"\udf89": 1',
        b'"more": NaN, "less": -Infinity',
        b'"more": 1e999',
        b'"extra": "x"',
        b'"extra": null',
        b'"extra": {"more": 5}, "more": 1',
        b'"more": [{"a": [1, "\xff"]}]',
    ],
)
def test_a_field_that_is_not_the_events_own_never_costs_it(more: bytes) -> None:
    event = decode(PLAYS, raw()[:-1] + b", " + more + b"}", AT_MS)
    assert event.extra is not None
    event.extra.encode()
    assert msgspec.structs.replace(event, extra=None) == decode(PLAYS, raw(), AT_MS)
    assert decode(PLAYS, encode(event), AT_MS) == event


def test_currently_playing_has_the_same_limits() -> None:
    with pytest.raises(InvalidEventError, match=r"^artist is missing$"):
        read(without("artist", SHOWN), NOW_PLAYING)
    with pytest.raises(InvalidEventError, match="started_at is no time that can be kept: 9999"):
        read(SHOWN | {"started_at": "9999-12-31T23:59:59.999999Z"}, NOW_PLAYING)
    with pytest.raises(InvalidEventError, match="detected_at lies before 2000, an unknown time: 1970"):
        read(SHOWN | {"detected_at": "1970-01-01T00:00:00Z"}, NOW_PLAYING)


def test_clocks_may_differ_by_a_day() -> None:
    assert read(PLAY | {"played_at": (AT + timedelta(days=1)).isoformat()})
    with pytest.raises(InvalidEventError, match="future"):
        read(PLAY | {"played_at": (AT + timedelta(days=1, seconds=1)).isoformat()})


def test_extras_are_kept_and_written_again() -> None:
    more = {
        "shuffle": True,
        "platform": "ios",
        "quoted": '"extra"',
        "nested": {"a": [1, 2.5, None, "ü"]},
        "big": 10**30,
    }
    event = read(PLAY | more)
    assert event.extra is not None
    assert json.loads(event.extra) == more
    assert json.loads(encode(event)).items() >= more.items()
    assert decode(PLAYS, encode(event), AT_MS) == event


def test_extras_of_currently_playing() -> None:
    shown = read(SHOWN | {"volume": 40}, NOW_PLAYING)
    assert shown.extra == '{"volume":40}'
    assert decode(NOW_PLAYING, encode(shown), AT_MS) == shown


def test_unknown_optional_fields_are_left_out() -> None:
    written = json.loads(encode(read(PLAY)))
    assert written == PLAY  # what a source must give is written even when null, what it may give is not


# -- for any event ------------------------------------------------------------------------------------------------

UNICODE = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
NAMED = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
LONG = st.integers(-(2**63), 2**63 - 1)
ZONES = st.integers(-23 * 60, 23 * 60).map(lambda m: timezone(timedelta(minutes=m)))
ANY_TIME = st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=ZONES)
PAST = st.datetimes(datetime(2000, 1, 2), datetime(2025, 12, 31), timezones=ZONES)
JSON = st.recursive(
    st.none() | st.booleans() | LONG | st.floats(allow_nan=False, allow_infinity=False) | UNICODE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(UNICODE, inner, max_size=3),
    max_leaves=8,
)


def extras(kind: type[msgspec.Struct]) -> st.SearchStrategy[str | None]:
    names = UNICODE.filter(lambda name: name not in kind.__struct_fields__)
    found = st.dictionaries(names, JSON, min_size=1, max_size=3)
    return st.none() | found.map(lambda fields: msgspec.json.encode(fields).decode())


@st.composite
def an_event(draw: st.DrawFn) -> tuple[str, Event | CurrentlyPlaying]:
    topic = draw(st.sampled_from(TOPICS))
    fields: dict[str, Any]
    names: dict[str, Any] = {"user_id": NAMED, "track_id": NAMED, "track_name": UNICODE}
    if topic == NOW_PLAYING:
        fields = names | {"artist": UNICODE, "started_at": st.none() | ANY_TIME, "detected_at": PAST}
    else:
        text, number = st.none() | UNICODE, st.none() | LONG
        fields = names | {
            "event_id": NAMED,
            "event_type": st.just({PLAYS: "play", SKIPS: "skip", LIKES: "like"}[topic]),
            "artist_name": UNICODE,
            "played_at": PAST,
            "source": st.sampled_from([None, "lastfm", "simulator"]),
            "time_precision_s": st.none() | st.floats(allow_nan=False, allow_infinity=False),
            "skipped": st.none() | st.booleans(),
            **dict.fromkeys(("duration_ms", "schema_version", "ms_played"), number),
            **dict.fromkeys(("started_at", "ended_at"), st.none() | ANY_TIME),
            **dict.fromkeys(("album_name", "device_type", "isrc", "album_image_url", "reason_start"), text),
            **dict.fromkeys(("reason_end", "context_uri", "country"), text),
        }
    kind = BY_TOPIC[topic]
    fields["extra"] = extras(kind)
    assert set(fields) == set(kind.__struct_fields__)
    return topic, kind(**draw(st.fixed_dictionaries(fields)))


@h(deadline=None)
@given(an_event())
def test_what_is_written_is_read(pair: tuple[str, Event | CurrentlyPlaying]) -> None:
    topic, event = pair
    assert decode(topic, encode(event), AT_MS) == event


def reason(topic: str, value: bytes, timestamp: int) -> str:
    """Why a message is refused; any other error than that is the test's failure."""
    try:
        decode(topic, value, timestamp)
    except InvalidEventError as error:
        return str(error)
    return "valid"


@h(deadline=None, max_examples=300)
@given(st.sampled_from(TOPICS), st.binary(max_size=60), st.integers(-(2**63), 2**63 - 1))
@example(PLAYS, raw(), -(2**63))
@example(PLAYS, raw(), 2**63 - 1)
def test_random_bytes_are_refused_and_nothing_else(topic: str, value: bytes, timestamp: int) -> None:
    assert reason(topic, value, timestamp)


@h(deadline=None, max_examples=300)
@given(st.dictionaries(st.sampled_from(sorted(PLAY)) | UNICODE, JSON, max_size=4), st.integers(0, 400), st.binary())
def test_damaged_messages_are_refused_and_nothing_else(fields: dict[str, Any], place: int, junk: bytes) -> None:
    whole = msgspec.json.encode(PLAY | fields)
    assert reason(PLAYS, whole, AT_MS)
    assert reason(PLAYS, whole[:place] + junk + whole[place + len(junk) :], AT_MS)


# -- ids and times ------------------------------------------------------------------------------------------------


def test_ids_are_the_same_for_ever() -> None:
    assert event_id("simulator", "7", 1) == "d293aa76-5ddc-5487-86a1-65ceb7811da7"
    assert surrogate_track_id("Sigur Rós", "Sæglópur") == "surrogate:2-56e8c51aa963c9374bd0630cd19ceb6f"


def test_ids_tell_apart_what_is_different() -> None:
    assert event_id("a", "b") != event_id("b", "a")
    assert event_id("a", "bc") != event_id("ab", "c")
    assert surrogate_track_id("a", "b") != surrogate_track_id("b", "a")


def test_surrogate_ids_do_not_depend_on_the_unicode_form() -> None:
    composed, decomposed = unicodedata.normalize("NFC", "Sigur Rós"), unicodedata.normalize("NFD", "Sigur Rós")
    assert composed != decomposed
    assert surrogate_track_id(composed, "x") == surrogate_track_id(decomposed, "x")
    assert surrogate_track_id("x", composed) == surrogate_track_id("x", decomposed)


def test_ids_in_bytes() -> None:
    one = event_id("a")
    assert len(id_bytes(one)) == 16
    assert id_bytes(one) == id_bytes(one.upper())
    assert id_bytes("no uuid") == b"no uuid"


@pytest.mark.parametrize(
    ("milliseconds", "expected"),
    [
        (AT_MS + 1, AT + timedelta(milliseconds=1)),
        (-1, datetime(1970, 1, 1, tzinfo=UTC)),
        (-(2**63), datetime(1970, 1, 1, tzinfo=UTC)),
        (2**63 - 1, datetime(9999, 1, 1, tzinfo=UTC)),
    ],
)
def test_time_stamps_of_kafka(milliseconds: int, expected: datetime) -> None:
    assert utc_from_ms(milliseconds) == expected
