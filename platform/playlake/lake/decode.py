"""Messages to the columns of bronze: whole blocks at a time where all is well, one by one where it is not.

``pyarrow.json`` reads a block many times as fast as anything that makes an object of each message, and lets go of the
interpreter meanwhile. But it lets pass what is no event, and some input ends the process (docs/adr/0002). So a block
goes that way only if a few cheap looks at it show that both ways give the same; otherwise it is halved until what is
odd stands alone, and that is read by :func:`playlake.events.decode`, which knows the reason for a dead letter.

Fields that are not the event's own become columns of their own (:class:`Drift`) or stay in ``extra`` as JSON text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from playlake import events
from playlake.lake.drift import Drift
from playlake.lake.schema import OWN_FIELDS, Dead, event_schema
from playlake.records import Run

_BLOCK = 16_384
"""Messages read at once: enough that the cost of a call vanishes, few enough to hold twice in memory."""
_LEAF = 64
"""As many or fewer are not halved any further."""
_MOST_ARRAYS = 20_000
"""``[`` that a block may have: what nests 100,000 deep makes pyarrow.json run out of stack."""
_BRACE, _ENDBRACE, _BRACKET = b"{}["
_FIRST_TIME_US = -62_135_596_800_000_000  # 0001-01-01: what a datetime can hold
_BY_ITSELF = (ValueError, TypeError, ArithmeticError, LookupError, SystemError, RecursionError)
"""What one message that nobody thought of may raise: it is to stop no other, and its bytes are kept."""
_WHOLE = 2.0**53
"""From here on fractions are no longer every whole number, so what was written is to be looked at."""


@dataclass(slots=True)
class Decoded:
    """The events of some messages as columns, in the order of the messages, and the dead among them."""

    rows: pa.Table
    """Of the event's own columns, those that have been added, and ``_kafka_partition``, ``_offset``, ``_timestamp``."""
    dead: list[Dead] = field(default_factory=list)
    added: dict[str, pa.DataType] = field(default_factory=dict)
    """Columns that the table has not got yet."""
    slowly: int = 0
    """Messages that were read one by one."""


class Decoder:
    """Reads the messages of one topic."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._checks = _Checks(topic)
        self._seen: set[str] = set(self._checks.required)

    def decode(self, runs: Iterable[Run], columns: Mapping[str, pa.DataType] | None = None) -> Decoded:
        """Tell the messages of ``runs`` apart.

        :param columns: what the table has beside the event's own columns.
        """
        drift = Drift(columns or {})
        work = _Work(drift)
        pieces: list[pa.Table] = []
        for run in runs:
            ahead = run.ahead.result() if run.ahead else None
            for number, part in enumerate(_blocks(run)):
                if ahead and ahead[number] is not None:
                    work.fast += len(part)
                    pieces.append(_with_positions(ahead[number], part))
                else:
                    for read, good in self._read(part, work, tried=bool(ahead)):
                        pieces.append(_with_positions(read, part if good is None else good))
        schema = pa.schema([*event_schema(self._topic), *drift.schema(), *_POSITIONS])
        whole = [_conformed(piece, schema) for piece in pieces]
        rows = pa.concat_tables(whole) if whole else schema.empty_table()
        return Decoded(rows, work.dead, drift.added, work.slowly)

    def ahead(self, run: Run, columns: Mapping[str, pa.DataType]) -> list[pa.Table | None]:
        """What :meth:`decode` would go the fast way for, block by block, in another thread than that.

        A block that is read so has no field beside ``columns``, so columns that are added later change nothing in it.
        """
        drift = Drift(columns)
        return [self._fast(part, drift) for part in _blocks(run)]

    def _read(self, run: Run, work: _Work, *, tried: bool = False) -> Iterator[tuple[pa.Table, Run | None]]:
        """Tables of the events of a run, each with the messages it was made of (None: all of the run).

        :param tried: whether the fast way has been tried with all of it.
        """
        if not work.mostly_odd():
            if not tried and (read := self._fast(run, work.drift)) is not None:
                work.fast += len(run)
                yield read, run
                return
            if len(run) > _LEAF:
                middle = len(run) // 2
                yield from self._read(run.part(0, middle), work)
                yield from self._read(run.part(middle), work)
                return
        yield self._slow(run, work)

    def _fast(self, run: Run, drift: Drift) -> pa.Table | None:
        text = _flat_objects(run.values)
        if text is None:
            return None
        read = None
        for fields in (self._seen, None):
            try:
                read = _parse(text, self._fields(fields, drift))
                break
            except pa.ArrowInvalid as error:
                if "unexpected field" not in str(error):
                    return None
        if read is None or read.num_rows != len(run):
            return None
        if fields is None:
            # A new set: another thread may be reading the old one.
            self._seen = self._seen | {name for name in read.column_names if read[name].null_count < len(run)}
        return self._checks.passed(read, run)

    def _fields(self, names: set[str] | None, drift: Drift) -> pa.Schema:
        """Of the schema to read with, those columns that have been seen to be used: an absent one costs time too."""
        every = [*self._checks.schema, *drift.schema()]
        return pa.schema([f for f in every if names is None or f.name in names])

    def _slow(self, run: Run, work: _Work) -> tuple[pa.Table, Run]:
        keep, texts = [], []
        for offset, timestamp, key, value in run.messages():
            try:
                event = events.decode(self._topic, value, timestamp)
                texts.append(work.drift.text_of(event))
            except _BY_ITSELF as error:
                known = isinstance(error, events.InvalidEventError)
                reason = str(error) if known else f"this release can't read it: {type(error).__name__}: {error}"
                work.dead.append(Dead(run.partition, offset, timestamp, key, value, reason))
                keep.append(False)
            else:
                keep.append(True)
        work.slowly += len(run)
        good = run if all(keep) else run.only(np.array(keep))
        full = pa.schema([*self._checks.schema, pa.field("extra", pa.string()), *work.drift.schema()])
        if not texts:
            return full.empty_table(), good
        # One way to make columns of JSON, also for what was read by itself: it is written anew, in our own words.
        read = _parse(pa.py_buffer(b"\n".join(texts)), full)
        return self._checks.with_times(read), good


@dataclass(slots=True)
class _Work:
    """One call's state."""

    drift: Drift
    dead: list[Dead] = field(default_factory=list)
    fast: int = 0
    slowly: int = 0

    def mostly_odd(self) -> bool:
        """Whether looking for the odd ones by halves would cost more than reading all by themselves."""
        return self.slowly > 1024 and self.slowly > self.fast // 8


def _blocks(run: Run) -> Iterator[Run]:
    for start in range(0, len(run), _BLOCK):
        yield run.part(start, start + _BLOCK) if len(run) > _BLOCK else run


def _flat_objects(values: pa.LargeBinaryArray) -> pa.Buffer | None:
    """The text of messages each of which is one ``{…}`` with no brace inside: nothing that could end pyarrow.json or
    shift a row. None where one is anything else."""
    if values.null_count or not len(values):
        return None
    ends = np.frombuffer(values.buffers()[1], np.int64)[values.offset : values.offset + len(values) + 1]
    sizes = np.diff(ends)
    if sizes.min() < 2 or sizes.max() > events.MAX_BYTES:
        return None
    text = values.buffers()[2].slice(ends[0], ends[-1] - ends[0])
    data = np.frombuffer(text, np.uint8)
    flat = (
        (data[ends[:-1] - ends[0]] == _BRACE).all()
        and (data[ends[1:] - ends[0] - 1] == _ENDBRACE).all()
        and np.count_nonzero(data == _BRACE) == len(values)
        and np.count_nonzero(data == _ENDBRACE) == len(values)
        and np.count_nonzero(data == _BRACKET) <= _MOST_ARRAYS
    )
    return text if flat else None


def _parse(data: pa.Buffer, fields: pa.Schema) -> pa.Table:
    return pj.read_json(
        pa.BufferReader(data),
        read_options=pj.ReadOptions(use_threads=False, block_size=data.size + 1),
        parse_options=pj.ParseOptions(explicit_schema=fields, unexpected_field_behavior="error"),
    )


class _Checks:
    """What pyarrow.json lets pass and events are not: each must hold for a whole block."""

    def __init__(self, topic: str) -> None:
        own = OWN_FIELDS[topic]
        self._times = [f.name for f in own if pa.types.is_timestamp(f.type)]
        self.schema = [pa.field(f.name, pa.string() if f.name in self._times else f.type) for f in own]
        self.required = frozenset(events.REQUIRED[topic])
        self._never_null = [f.name for f in own if not f.nullable]
        self._may_be_null = self.required - set(self._never_null)
        self._texts = events.TEXTS[topic]
        self._choices = {name: pa.array(values) for name, values in events.CHOICES[topic].items()}
        self._at = events.WHEN[topic]

    def passed(self, read: pa.Table, run: Run) -> pa.Table | None:
        """The block, its times as times, or None where some message of it must be looked at by itself."""
        try:
            read.validate(full=True)  # is text UTF-8?
            ok = self._plain(read) and self._there(read, run.values) and self._written(read)
            timed = self.with_times(read) if ok else None
        except pa.ArrowInvalid:
            return None
        return timed if timed is not None and self._in_time(timed, run) else None

    def _plain(self, read: pa.Table) -> bool:
        if any(read[name].null_count for name in self._never_null):
            return False
        for name in self._texts:
            length = pc.min_max(pc.binary_length(read[name]))
            if length["min"].as_py() < 1 or length["max"].as_py() > events.MAX_TEXT:
                return False
        for name, allowed in self._choices.items():
            if name in read.column_names:
                one = pc.is_in(read[name], allowed)
                if read[name].null_count:
                    one = pc.or_(one, pc.is_null(read[name]))
                if not pc.all(one).as_py():
                    return False
        fractions = (c for c in read.columns if pa.types.is_floating(c.type) and c.null_count < len(c))
        return all(pc.all(pc.less(pc.abs(c), _WHOLE)).as_py() for c in fractions)  # no number that is none, too

    def _there(self, read: pa.Table, packed: pa.LargeBinaryArray) -> bool:
        """Whether what must be given is given where it is null: pyarrow.json has no word for missing."""
        for name in self._may_be_null:
            if read[name].null_count:
                of_null = packed.filter(read[name].combine_chunks().is_null())
                given = pc.or_(
                    pc.match_substring(of_null, f'"{name}":null'.encode()),
                    pc.match_substring(of_null, f'"{name}": null'.encode()),
                )
                if not pc.all(given).as_py():
                    return False
        return True

    def _written(self, read: pa.Table) -> bool:
        """Whether times are whole ones in UTC: pyarrow takes ``2026-01-01`` and ``2026-01-01T10+05`` too."""
        for name in self._times:
            if name in read.column_names and read[name].null_count < len(read):
                texts = read[name]
                length = pc.binary_length(texts)
                ok = pc.and_(pc.ends_with(texts, "Z"), pc.greater_equal(length, 20))
                if not pc.all(ok).as_py():
                    zero = pc.and_(pc.ends_with(texts, "+00:00"), pc.greater_equal(length, 25))
                    if not pc.all(pc.or_(ok, zero)).as_py():
                        return False
        return True

    def with_times(self, read: pa.Table) -> pa.Table:
        """Texts of times as times.

        :raises pa.ArrowInvalid: where one is none.
        """
        for name in self._times:
            if name in read.column_names:
                number = read.column_names.index(name)
                read = read.set_column(number, name, pc.cast(read[name], pa.timestamp("us", "UTC")))
        return read

    def _in_time(self, read: pa.Table, run: Run) -> bool:
        for name in self._times:
            if name in read.column_names and read[name].null_count < len(read):
                found = pc.min_max(read[name].cast(pa.int64())).as_py()
                if found["min"] < _FIRST_TIME_US or found["max"] > events.LAST_MS * 1000:
                    return False
        latest = np.clip(run.timestamps, 0, events.LAST_MS) * 1000 + events.FUTURE_US
        at = read[self._at].cast(pa.int64()).to_numpy()
        return bool((at >= events.EARLIEST_US).all() and (at <= latest).all())


_POSITIONS = [
    pa.field("_kafka_partition", pa.int32(), nullable=False),
    pa.field("_kafka_offset", pa.int64(), nullable=False),
    pa.field("_kafka_timestamp", pa.int64(), nullable=False),
]


def _with_positions(read: pa.Table, run: Run) -> pa.Table:
    columns = (
        pa.repeat(pa.scalar(run.partition, pa.int32()), len(run)),
        pa.array(run.offsets),
        pa.array(run.timestamps),
    )
    for name, column in zip(_POSITIONS, columns, strict=True):
        read = read.append_column(name, column)
    return read


def _conformed(read: pa.Table, schema: pa.Schema) -> pa.Table:
    """With all columns of the schema, null where it has none."""
    columns = [
        read[f.name].cast(f.type) if f.name in read.column_names else pa.nulls(len(read), f.type) for f in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)
