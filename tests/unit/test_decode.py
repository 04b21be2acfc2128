"""Reading whole blocks gives what reading each message by itself gives, whatever is in them."""

from __future__ import annotations

import json
import string
import subprocess
import sys
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as h
from hypothesis import strategies as st

from playlake import events
from playlake.events import BY_TOPIC, NOW_PLAYING, PLAYS, TOPICS
from playlake.lake import decode as module
from playlake.lake.decode import Decoded, Decoder
from playlake.records import Run

AT_MS = int(datetime(2026, 3, 4, 5, tzinfo=UTC).timestamp() * 1000)
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
SHOWN = {
    "user_id": "u",
    "track_id": "t",
    "track_name": "S",
    "artist": "B",
    "started_at": None,
    "detected_at": "2026-01-01T00:00:00Z",
}


def run(*values: bytes | None, topic: str = PLAYS) -> Run:
    n = len(values)
    return Run.of(topic, 0, list(range(n)), [AT_MS] * n, [None] * n, list(values))


Told = tuple[list[tuple[int, dict[str, Any]]], list[tuple[int, str]]]


def one_by_one(topic: str, values: list[bytes | None]) -> Told:
    """What the events' own decoder says: rows by offset, and reasons by offset."""
    good, dead = [], []
    for offset, value in enumerate(values):
        try:
            event = events.decode(topic, value, AT_MS)
        except events.InvalidEventError as error:
            dead.append((offset, str(error)))
        else:
            good.append((offset, {f: getattr(event, f) for f in event.__struct_fields__ if f != "extra"}))
    return good, dead


def told(topic: str, decoded: Decoded) -> Told:
    """The same of a block."""
    fields = [f for f in BY_TOPIC[topic].__struct_fields__ if f != "extra"]
    good = [(row["_kafka_offset"], {f: row[f] for f in fields}) for row in decoded.rows.to_pylist()]
    return good, [(d.offset, d.reason) for d in decoded.dead]


TIMES = [
    "2026-01-01T00:00:00Z",
    "2026-01-01 00:00:00Z",
    "2026-01-01t00:00:00z",
    "2026-01-01T00:00:00.1Z",
    "2026-01-01T00:00:00.123456Z",
    "2026-01-01T00:00:00.1234567Z",
    "2026-01-01T00:00:00+00:00",
    "2026-01-01T00:00:00.5+00:00",
    "2026-01-01T00:00:00+0530",
    "2026-01-01T00:00:00-05:30",
    "2026-01-01T00:00:00+05",
    "2026-01-01T00:00+00:00",
    "2026-01-01T00:00Z",
    "2026-01-01T00Z",
    "2026-01-01Z",
    "2026-01-01",
    "2026-01-01T00:00:00",
    "2026-01-01T24:00:00Z",
    "2026-01-01T23:59:60Z",
    "2026-02-30T00:00:00Z",
    "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00Z",
    "1970-01-01T00:00:00Z",
    "1999-12-31T23:59:59.999999Z",
    "2000-01-01T00:00:00Z",
    "2026-03-05T05:00:00Z",
    "2026-03-05T05:00:00.000001Z",
    "2099-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    " 2026-01-01T00:00:00Z",
    "2026-01-01T00:00:00Z ",
    "20260101T000000Z",
    "",
    0,
    None,
]
texts = st.text(max_size=6) | st.sampled_from(
    ["", "x" * 4096, "x" * 4097, "ü" * 4096, "[Live]", "{Deluxe}", '"album_name":null']
)
scalars = st.none() | st.booleans() | st.integers(-(2**64), 2**64) | st.floats() | texts
values_of: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("played_at", "started_at", "ended_at"), st.sampled_from(TIMES)),
    "duration_ms": st.sampled_from([0, -1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 1.0, 1e3, "1", None, True]),
    "time_precision_s": st.sampled_from([0, 1.5, -0.0, 5e-324, 1e308, float("inf"), float("nan"), "1", None]),
    "source": st.sampled_from(["simulator", "lastfm", "other", "", None, 1]),
    "event_type": st.sampled_from(["play", "skip", "Play", None]),
    "skipped": st.sampled_from([True, False, None, 0, "true"]),
}
names = st.sampled_from(list(BY_TOPIC[PLAYS].__struct_fields__))


@st.composite
def plays(draw: st.DrawFn) -> bytes | None:
    """A play, maybe damaged: fields changed, left out or twice, other spacing, garbage around it."""
    fields: dict[str, Any] = dict(PLAY)
    for name in draw(st.lists(names, max_size=3)):
        fields[name] = draw(values_of.get(name, scalars))
    for name in draw(st.lists(names, max_size=1)):
        fields.pop(name, None)
    text = json.dumps(
        fields,
        ensure_ascii=draw(st.booleans()),
        separators=draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", " : ")])),
    ).encode(errors="surrogatepass")
    return draw(st.sampled_from(DAMAGES))(text)


def _twice(text: bytes) -> bytes:
    return text[:-1] + b',"track_name":"again"}'


DAMAGES: list[Any] = [
    *[lambda text: text] * 12,
    _twice,
    lambda text: text[:-1],
    lambda text: text[1:],
    lambda text: text + text,
    lambda text: text + b"\n" + text,
    lambda text: text + b" null {}",
    lambda text: b" " + text + b" ",
    lambda text: b"\xef\xbb\xbf" + text,
    lambda text: text.replace(b"Song", b"S\xffng"),
    lambda text: text.replace(b"Song", b"S\\ud800ng"),
    lambda text: text.replace(b"Song", b"S\x00ng"),
    lambda text: text.replace(b"Song", b"S\\u0000ng"),
    lambda text: text.replace(b"Song", b"S\ning"),
    lambda text: text[:-1] + b",}",
    lambda text: text.replace(b'"track_name"', b'"track\\u005fname"'),
    lambda text: text.replace(b'"album_name"', b'"album\\u005fname"'),
    lambda text: b"null",
    lambda text: b"[]",
    lambda text: b"{}",
    lambda text: b"",
    lambda text: b"\n",
    lambda text: None,
]
GOOD = json.dumps(PLAY, separators=(",", ":")).encode()


@h(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(plays(), min_size=1, max_size=12))
@example([GOOD, None, GOOD])
def test_a_block_is_read_as_its_messages_by_themselves(values: list[bytes | None]) -> None:
    decoded = Decoder(PLAYS).decode([run(*values)])
    decoded.rows.validate(full=True)
    good, dead = told(PLAYS, decoded)
    wanted, reasons = one_by_one(PLAYS, values)
    # A field that has become a column by an earlier message may be refused in a later one: not by these messages.
    assert dead == reasons
    assert [offset for offset, _ in good] == [offset for offset, _ in wanted]
    for (_, row), (_, expected) in zip(good, wanted, strict=True):
        assert msgspec.to_builtins(row) == msgspec.to_builtins(_in_utc(expected))
    before = Decoder(PLAYS).decode([read_ahead(run(*values))])
    assert (before.rows, before.dead, before.added) == (decoded.rows, decoded.dead, decoded.added)


def read_ahead(run: Run, columns: dict[str, pa.DataType] | None = None) -> Run:
    ahead: Future[Any] = Future()
    ahead.set_result(Decoder(run.topic).ahead(run, columns or {}))
    return replace(run, ahead=ahead)


def test_what_was_read_ahead_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Block by block: where one is odd it is looked at, and only there."""
    values = [GOOD] * module._BLOCK + [GOOD] * 99 + [b"{}"]
    ahead = read_ahead(run(*values))
    sizes = []
    parse = module._parse

    def sized(data: pa.Buffer, fields: pa.Schema) -> pa.Table:
        sizes.append(data.size)
        return parse(data, fields)

    monkeypatch.setattr(module, "_parse", sized)
    decoded = Decoder(PLAYS).decode([ahead])
    assert (len(decoded.rows), len(decoded.dead)) == (len(values) - 1, 1)
    assert max(sizes) <= 50 * (len(GOOD) + 1), "the halves of the last block"


def test_a_column_that_was_added_after_it_was_read_ahead_is_null_there() -> None:
    new = json.dumps(PLAY | {"mood": "calm"}).encode()
    decoded = Decoder(PLAYS).decode([read_ahead(run(GOOD)), read_ahead(run(new)), run(new)], {"place": pa.string()})
    assert decoded.rows["mood"].to_pylist() == [None, "calm", "calm"]
    assert decoded.rows["place"].to_pylist() == [None] * 3


def _in_utc(row: dict[str, Any]) -> dict[str, Any]:
    return {k: v.astimezone(UTC) if isinstance(v, datetime) else v for k, v in row.items()}


@pytest.mark.parametrize("damage", range(len(DAMAGES)))
def test_each_damage_among_good_neighbours(damage: int) -> None:
    odd = DAMAGES[damage](GOOD)
    values = [GOOD] * 100 + [odd] + [GOOD] * 100
    decoded = Decoder(PLAYS).decode([run(*values)])
    good, dead = told(PLAYS, decoded)
    wanted, reasons = one_by_one(PLAYS, values)
    assert (dead, [o for o, _ in good]) == (reasons, [o for o, _ in wanted])
    assert decoded.slowly <= 64, "a bad one keeps few of its neighbours from being read fast"


@pytest.mark.parametrize("time", TIMES)
def test_each_way_to_write_a_time(time: object) -> None:
    values: list[bytes | None] = [json.dumps(PLAY | {name: time}).encode() for name in ("played_at", "started_at")]
    for value in values:
        good, dead = told(PLAYS, Decoder(PLAYS).decode([run(value)]))
        wanted, reasons = one_by_one(PLAYS, [value])
        assert dead == reasons
        assert [msgspec.to_builtins(r) for _, r in good] == [msgspec.to_builtins(_in_utc(r)) for _, r in wanted]


@pytest.mark.parametrize("topic", TOPICS)
def test_good_messages_are_read_by_blocks(topic: str) -> None:
    kind = {"user_skips": "skip", "user_likes": "like"}.get(topic, "play")
    fields = SHOWN if topic == NOW_PLAYING else PLAY | {"event_type": kind, "album_name": "A"}
    values: list[bytes | None] = [json.dumps(fields).encode()] * 1000
    decoded = Decoder(topic).decode([run(*values, topic=topic)])
    assert (len(decoded.rows), decoded.slowly, decoded.dead) == (1000, 0, [])
    assert told(topic, decoded)[0][7][1] == _in_utc(one_by_one(topic, values)[0][7][1])


def test_many_bad_ones_are_not_searched_by_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    parses = []
    parse = module._parse

    def counted(*args: Any) -> pa.Table:
        parses.append(args)
        return parse(*args)

    monkeypatch.setattr(module, "_parse", counted)
    values = [GOOD if n % 10 else b"{}" for n in range(20_000)]
    decoded = Decoder(PLAYS).decode([run(*values)])
    assert (len(decoded.rows), len(decoded.dead)) == (18_000, 2_000)
    assert len(parses) < 200


def test_a_message_of_a_megabyte_is_the_largest_event() -> None:
    empty = json.dumps(PLAY | {"pad": ""}).encode()
    fits = json.dumps(PLAY | {"pad": "x" * (events.MAX_BYTES - len(empty))}).encode()
    over = fits.replace(b"xx", b"xxx", 1)
    for values in ([GOOD, fits, over, GOOD], [fits, over] * 40):
        good, dead = told(PLAYS, Decoder(PLAYS).decode([run(*values)], {"pad": pa.string()}))
        assert [offset for offset, _ in good] == [n for n, value in enumerate(values) if value is not over]
        assert {reason for _, reason in dead} == {
            f"the message is too large for an event: {events.MAX_BYTES + 1:,} bytes of at most {events.MAX_BYTES:,}"
        }


def test_runs_are_read_in_their_order() -> None:
    one, two = run(GOOD, b"{}", GOOD), Run.of(PLAYS, 1, [0], [AT_MS], [None], [GOOD])
    decoded = Decoder(PLAYS).decode([one, two, one])
    places = zip(*(decoded.rows[f"_kafka_{n}"].to_pylist() for n in ("partition", "offset")), strict=True)
    assert list(places) == [(0, 0), (0, 2), (1, 0), (0, 0), (0, 2)]
    assert [(d.partition, d.offset) for d in decoded.dead] == [(0, 1), (0, 1)]


@pytest.mark.parametrize(
    "value",
    [
        b"null",
        b'{"a":1} null {}',
        b'{"event_id":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        b'{"x":' + b'{"a":' * 200_000 + b"1" + b"}" * 200_000 + b"}",
        b"[" * 200_000,
    ],
    ids=["null", "null between", "arrays", "objects", "open"],
)
def test_nothing_ends_the_process(value: bytes) -> None:
    """pyarrow.json is known to crash on these; a crash would come back at every start."""
    code = (
        "import sys\nfrom playlake.lake.decode import Decoder\nfrom playlake.records import Run\n"
        "value = sys.stdin.buffer.read()\n"
        "made = Decoder('user_plays').decode([Run.of('user_plays', 0, [0, 1], [0, 0], [None] * 2, [value, value])])\n"
        "print(len(made.dead))"
    )
    done = subprocess.run([sys.executable, "-c", code], input=value, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, b"2"), done.stderr[-300:]


# -- fields that are not the event's own ---------------------------------------------------------------------------


def with_fields(**fields: Any) -> bytes:
    return json.dumps(PLAY | fields).encode()


def test_a_new_field_becomes_a_column() -> None:
    values = [GOOD, with_fields(mood="calm", bpm=120, loud=-3.5, live=True), with_fields(mood="wild"), GOOD]
    decoded = Decoder(PLAYS).decode([run(*values)])
    assert decoded.added == {"mood": pa.string(), "bpm": pa.float64(), "loud": pa.float64(), "live": pa.bool_()}
    assert decoded.rows.select(["mood", "bpm", "loud", "live"]).to_pylist() == [
        {"mood": None, "bpm": None, "loud": None, "live": None},
        {"mood": "calm", "bpm": 120, "loud": -3.5, "live": True},
        {"mood": "wild", "bpm": None, "loud": None, "live": None},
        {"mood": None, "bpm": None, "loud": None, "live": None},
    ]
    assert decoded.rows["extra"].to_pylist() == [None] * 4


def test_a_column_that_the_table_has_is_read_by_blocks() -> None:
    decoder = Decoder(PLAYS)
    columns = {"mood": pa.string(), "bpm": pa.int64()}
    decoded = decoder.decode([run(*[with_fields(mood="calm", bpm=1)] * 500, GOOD)], columns)
    assert (decoded.slowly, decoded.added, decoded.dead) == (0, {}, [])
    assert decoded.rows["mood"].to_pylist() == ["calm"] * 500 + [None]


@pytest.mark.parametrize(
    ("columns", "fields"),
    [
        ({"bpm": pa.int64()}, {"bpm": "fast"}),
        ({"bpm": pa.int64()}, {"bpm": 1.5}),
        ({"bpm": pa.int64()}, {"bpm": True}),
        ({"bpm": pa.int64()}, {"bpm": 2**63}),
        ({"loud": pa.float64()}, {"loud": 2**53 + 1}),
        ({"loud": pa.float64()}, {"loud": -(10**400)}),
        ({"loud": pa.float64()}, {"loud": True}),
        ({"live": pa.bool_()}, {"live": 1}),
        ({"mood": pa.string()}, {"mood": 1}),
        ({"mood": pa.string()}, {"mood": ["a"]}),
        ({"mood": pa.string()}, {"mood": {}}),
        ({"mood": pa.string()}, {"mood": "\ud83c"}),
        ({}, {"mood": "\ud83c", "\udf89": 1}),
    ],
)
@pytest.mark.parametrize("others", [0, 200])
def test_a_value_that_does_not_fit_its_column_stays_in_extra(
    columns: dict[str, Any], fields: dict[str, Any], others: int
) -> None:
    decoded = Decoder(PLAYS).decode([run(*[GOOD] * others, with_fields(**fields), *[GOOD] * others)], columns)
    assert (decoded.dead, decoded.added) == ([], {})
    rows = decoded.rows.to_pylist()
    assert len(rows) == 2 * others + 1
    assert json.loads(rows[others]["extra"]) == fields
    assert all(rows[others][name] is None for name in columns)


NUMBERS = [1, 0, 0.73, -2.5, 1e300, 2**53, 7]


@pytest.mark.parametrize("first", range(len(NUMBERS)))
def test_numbers_of_any_form_share_a_column(first: int) -> None:
    """The first was a whole number, so fractions became dead letters for ever."""
    values = NUMBERS[first:] + NUMBERS[:first]
    decoder = Decoder(PLAYS)
    one = decoder.decode([run(with_fields(energy=values[0]))])
    assert one.added == {"energy": pa.float64()}
    rest = decoder.decode([run(*(with_fields(energy=v) for v in values[1:]))], one.added)
    assert one.rows["energy"].to_pylist() + rest.rows["energy"].to_pylist() == values
    assert (rest.dead, rest.added) == ([], {})


def test_a_number_that_is_an_id_keeps_its_digits() -> None:
    values = [2**53 + 1, 5, 2**63 - 1]
    decoded = Decoder(PLAYS).decode([run(*(with_fields(number=v) for v in values), with_fields(number=0.5))])
    assert decoded.added == {"number": pa.int64()}
    assert decoded.rows["number"].to_pylist() == [*values, None]
    assert decoded.rows["extra"].to_pylist() == [None, None, None, '{"number":0.5}']


def test_types_that_change_within_a_batch_cost_no_row() -> None:
    given = ["calm", 1, None, False, 0.5, ["a"], "wild"]
    decoded = Decoder(PLAYS).decode([run(*(with_fields(mood=value) for value in given))])
    assert (decoded.added, decoded.dead) == ({"mood": pa.string()}, [])
    found = [
        row["mood"] if row["extra"] is None else json.loads(row["extra"])["mood"] for row in decoded.rows.to_pylist()
    ]
    assert found == given


def test_a_whole_number_fits_a_column_of_fractions() -> None:
    for others in (0, 200):  # alone, and in a block
        values = [with_fields(loud=1)] + [with_fields(loud=0.5)] * others
        decoded = Decoder(PLAYS).decode([run(*values, with_fields(loud=2**60))], {"loud": pa.float64()})
        assert decoded.rows["loud"].to_pylist()[0] == 1.0
        assert decoded.rows["loud"].to_pylist()[-1] == 2**60
        assert decoded.dead == []


def test_what_nobody_thought_of_is_a_dead_letter_and_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    real = events.decode

    def decode(topic: str, value: bytes | None, timestamp: int) -> Any:
        if value and b"bang" in value:
            raise KeyError("bang")
        return real(topic, value, timestamp)

    monkeypatch.setattr(events, "decode", decode)
    decoded = Decoder(PLAYS).decode([run(GOOD, with_fields(odd={"a": "bang"}), GOOD)])
    assert [(d.offset, d.reason) for d in decoded.dead] == [(1, "this release can't read it: KeyError: 'bang'")]
    assert len(decoded.rows) == 2


def test_a_column_of_another_programs_type_is_left_to_it() -> None:
    """An `alter table` of others: what we would put there, nobody has said."""
    foreign = {"rating": pa.int32(), "price": pa.decimal128(9, 2), "on": pa.date32(), "mood": pa.string()}
    given = {"rating": 5, "price": "3.50", "on": "2026-01-01"}
    for others in (0, 200):
        decoded = Decoder(PLAYS).decode([run(GOOD, with_fields(**given, mood="calm"), *[GOOD] * others)], foreign)
        assert (decoded.dead, decoded.added) == ([], {})
        assert decoded.rows.column_names[-4] == "mood"
        assert not foreign.keys() - {"mood"} & set(decoded.rows.column_names)
        assert json.loads(decoded.rows["extra"].to_pylist()[1]) == given
        assert decoded.rows["mood"].to_pylist()[1] == "calm"


@pytest.mark.parametrize(
    "fields",
    [
        {"tags": ["a"]},
        {"where": {"city": "Rome"}},
        {"nothing": None},
        {"not a name": 1},
        {"ünïcode": 1},
        {"1st": 1},
        {"_kafka_offset": 7},
        {"_mine": 1},
        {"Year": 2020},
        {"TRACK_ID": "x"},
        {"value": "x"},
        {"huge": 2**64},
        {"filename": "a.mp3"},
        {"RowId": 1},
        {"x" * 64: 1},
    ],
)
def test_what_can_be_no_column_stays_in_extra(fields: dict[str, Any]) -> None:
    decoded = Decoder(PLAYS).decode([run(GOOD, with_fields(**fields))])
    assert (decoded.added, decoded.dead) == ({}, [])
    assert [json.loads(e) if e else None for e in decoded.rows["extra"].to_pylist()] == [None, fields]


def test_names_that_differ_by_case_only_are_one_column() -> None:
    decoded = Decoder(PLAYS).decode([run(with_fields(mood="a"), with_fields(Mood="b"))])
    assert decoded.added == {"mood": pa.string()}
    assert decoded.rows["extra"].to_pylist() == [None, '{"Mood":"b"}']


def test_a_field_that_differs_from_a_column_by_case_only_is_none() -> None:
    decoded = Decoder(PLAYS).decode([run(with_fields(mood="a"))], {"Mood": pa.string()})
    assert (decoded.added, decoded.rows["extra"].to_pylist()) == ({}, ['{"mood":"a"}'])


def test_a_table_that_is_wide_already_grows_to_its_limit() -> None:
    there = {f"c{n}": pa.int64() for n in range(199)}
    decoded = Decoder(PLAYS).decode([run(with_fields(mood="calm", bpm=1))], there)
    assert len(decoded.added) == 1


def test_a_table_does_not_grow_without_end() -> None:
    made = [with_fields(**{f"f{n}{c}": n}) for n in range(20) for c in string.ascii_lowercase]
    decoded = Decoder(PLAYS).decode([run(*made)])
    assert len(decoded.added) == 200
    assert sum(e is not None for e in decoded.rows["extra"].to_pylist()) == 20 * 26 - 200
