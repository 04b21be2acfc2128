"""What is sent while all goes wrong, good and bad, and a book of what the broker has acknowledged of it."""

from __future__ import annotations

import itertools
import json
import logging
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import confluent_kafka as ck
import msgspec

from playlake import events
from playlake.broker import config
from playlake.settings import Settings
from playlake.sources.simulator import Simulation, Simulator

LARGE = 5 * 1024 * 1024
_HOUR_MS = 3_600_000
_LIBRDKAFKA = logging.getLogger("librdkafka.chaos")
_LIBRDKAFKA.addHandler(logging.NullHandler())
_LIBRDKAFKA.setLevel(logging.CRITICAL + 1)  # connections that are cut are errors to it


Place = tuple[int, int]
"""Partition and offset, as the broker has acknowledged them."""


class Message(NamedTuple):
    """What is sent. ``name`` is its own: an event's id, or the key of a bad message. ``bad`` says why it is bad."""

    topic: str
    name: str
    key: bytes
    value: bytes | None
    bad: str = ""


@dataclass
class Book:
    """What was acknowledged: by topic the events' names with their places; by name those that are bad."""

    good: dict[str, dict[str, Place]] = field(default_factory=lambda: {topic: {} for topic in events.TOPICS})
    bad: dict[str, bytes | None] = field(default_factory=dict)
    unsure: dict[str, bytes | None] = field(default_factory=dict)
    """Of the bad, those that were sent and not acknowledged: they may be in the log."""

    @property
    def acknowledged(self) -> int:
        """Messages of all kinds."""
        return sum(map(len, self.good.values())) + len(self.bad)

    def counts(self) -> dict[str, int]:
        """How many messages there are of each kind."""
        return {"acknowledged": self.acknowledged, "bad": len(self.bad)}


def _changed(**fields: Any) -> Callable[[dict[str, Any], random.Random], bytes]:
    return lambda event, _rng: json.dumps({**event, **fields}).encode()


BAD: dict[str, Callable[[dict[str, Any], random.Random], bytes | None]] = {
    "bad JSON": lambda event, rng: json.dumps(event).encode()[: rng.randrange(1, 60)],
    "bad UTF-8": lambda event, _rng: json.dumps(event).encode().replace(b'"track_name": "', b'"track_name": "\xff\xfe'),
    "null value": lambda _event, _rng: None,
    "empty": lambda _event, _rng: b"",
    "a list": lambda _event, _rng: b"[]",
    "too deep": lambda _event, _rng: b"[" * 20_000,
    "missing fields": lambda event, rng: json.dumps(dict(rng.sample(sorted(event.items()), 3))).encode(),
    "null field": _changed(event_id=None),
    "wrong type": _changed(duration_ms="long"),
    "played_at of 1970": _changed(played_at="1970-01-01T00:00:00Z"),
    "played_at of 2099": _changed(played_at="2099-01-01T00:00:00Z"),
    "played_at unknown": _changed(played_at="yesterday"),
}
LARGE_BAD = "5 MB"
NEW_FIELDS = {"mood": "calm", "tempo": 120, "live": True, "loudness": -7.5, "label": "of nobody", "disc": 2}
"""Fields that nobody knows; each becomes a column."""
ODD = (7, "seven", 0.5, True)
ODD_EACH = 24
"""Messages that have the same unknown field, with values of several types: which of them becomes the column's is
settled between the writers, each of which may have seen another first. The others stay in ``extra``."""


def messages(seed: int) -> Iterator[Message]:
    """Events of all topics without end, bad ones and some with fields that nobody knows among them."""
    rng = random.Random(seed)
    simulation = Simulation(plays=3_000, listeners=30, days=30, seed=seed)
    pool = [(t, e) for t, e in Simulator(simulation).events() if isinstance(e, events.Event)]
    rng.shuffle(pool)
    odds = itertools.count()
    for number, (topic, event) in enumerate(itertools.cycle(pool)):
        name = str(uuid.UUID(int=rng.getrandbits(128), version=4))
        made = msgspec.structs.replace(event, event_id=name)
        fields = json.loads(events.encode(made))
        place = rng.random()
        if number % 6007 == 1500:
            yield Message(topic, f"bad-{name}", f"bad-{name}".encode(), b'"' + b"x" * LARGE + b'"', LARGE_BAD)
        elif place < 0.03:
            why = rng.choice(sorted(BAD))
            yield Message(topic, f"bad-{name}", f"bad-{name}".encode(), BAD[why](fields, rng), why)
        elif place < 0.05:
            playing = events.CurrentlyPlaying(
                user_id=made.user_id,
                track_id=name,
                track_name=made.track_name,
                artist=made.artist_name,
                started_at=None,
                detected_at=datetime.now(UTC),
            )
            yield Message(events.NOW_PLAYING, name, made.user_id.encode(), events.encode(playing))
        elif place < 0.06:
            more = dict(rng.sample(sorted(NEW_FIELDS.items()), 2))
            yield Message(topic, name, made.user_id.encode(), json.dumps({**fields, **more}).encode())
        elif place < 0.08:
            odd = {f"odd_{next(odds) // ODD_EACH}": rng.choice(ODD)}
            yield Message(topic, name, name.encode(), json.dumps({**fields, **odd}).encode())
        else:
            yield Message(topic, name, made.user_id.encode(), events.encode(made))


class Feed(threading.Thread):
    """Sends ``rate`` messages a second until it is stopped. Their own times are of this hour or one of the last three.

    :param idempotent: whether the broker holds each message once, whatever happens; else nothing is sent twice.
    """

    def __init__(self, settings: Settings, seed: int, rate: float, *, idempotent: bool) -> None:
        super().__init__(daemon=True, name="feed")
        self.book = Book()
        self.error: BaseException | None = None
        self._source = messages(seed)
        self._rng = random.Random(seed + 1)
        self._rate = rate
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        once: dict[str, Any] = {"enable.idempotence": True} if idempotent else {"message.send.max.retries": 0}
        self._client = ck.Producer(
            {
                **config.librdkafka(settings),
                **once,
                "acks": "all",
                "message.max.bytes": config.MAX_MESSAGE_BYTES,
                "message.timeout.ms": 60_000,
                "socket.timeout.ms": 10_000,
                "linger.ms": 5,
                "logger": _LIBRDKAFKA,
            }
        )

    def run(self) -> None:
        """Send."""
        try:
            self._send_all()
        except BaseException as error:  # noqa: BLE001 - raised by settle()
            self.error = error

    def _send_all(self) -> None:
        due = time.monotonic()
        while not self._stopped.is_set():
            self._client.poll(0)
            due = max(due + 1 / self._rate, time.monotonic() - 1)
            if (wait := due - time.monotonic()) > 0:
                time.sleep(wait)
            with self._lock:
                self._send(next(self._source))

    def _send(self, message: Message) -> None:
        if message.bad:
            self.book.unsure[message.name] = message.value

        def delivered(error: ck.KafkaError | None, sent: ck.Message) -> None:
            if error:
                return
            if message.bad:
                self.book.bad[message.name] = self.book.unsure.pop(message.name)
            else:
                self.book.good[message.topic][message.name] = (int(sent.partition()), int(sent.offset()))

        at = int(time.time() * 1000) - self._rng.choice((0, 0, 1, 2, 3)) * _HOUR_MS
        try:
            self._client.produce(message.topic, message.value, message.key, timestamp=at, on_delivery=delivered)
        except BufferError:
            self.book.unsure.pop(message.name, None)

    def settle(self) -> None:
        """Wait until the broker has answered for all that was sent; nothing is sent meanwhile.

        :raises RuntimeError: when it does not, or when the feed has died.
        """
        self._lock.acquire()
        if self.error or self._client.flush(90):
            raise RuntimeError(f"the feed: {self.error or 'the broker does not answer for what was sent'}")

    def go_on(self) -> None:
        """Send again after :meth:`settle`."""
        self._lock.release()

    def stop(self) -> None:
        """End."""
        self._stopped.set()
        if self._lock.locked():
            self._lock.release()
        self.join(30)
        self._client.flush(5)
