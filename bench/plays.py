"""A topic full of plays of about 300 bytes, for measurements: real events, encoded as playlake encodes them."""

from __future__ import annotations

import itertools
import random
import uuid
from collections.abc import Iterator

import confluent_kafka as ck
import msgspec

from playlake import events
from playlake.broker import Admin, config
from playlake.settings import Settings
from playlake.sources.simulator import Simulation, Simulator

_DROPPED = (
    *("schema_version", "source", "ms_played", "started_at", "ended_at", "time_precision_s", "isrc"),
    *("album_image_url", "skipped", "context_uri"),
)


def plays(seed: int) -> Iterator[tuple[str, bytes]]:
    """Key and value of plays without end; each has an id of its own."""
    rng = random.Random(seed)
    pool = [
        msgspec.structs.replace(event, **dict.fromkeys(_DROPPED))
        for topic, event in Simulator(Simulation(plays=20_000, listeners=500, days=30, seed=seed)).events()
        if topic == events.PLAYS and isinstance(event, events.Event)
    ]
    for event in itertools.cycle(pool):
        made = msgspec.structs.replace(event, event_id=str(uuid.UUID(int=rng.getrandbits(128), version=4)))
        yield event.user_id, events.encode(made)


def fill(settings: Settings, count: int, *, seed: int = 1) -> float:
    """Send so many plays, spread evenly over the partitions; returns their mean size in bytes."""
    with Admin(settings) as admin:
        partitions = admin.ensure(events.TOPICS)[events.PLAYS].partitions
    failed: list[ck.KafkaError] = []
    producer = ck.Producer(
        {
            **config.librdkafka(settings),
            "acks": "all",
            "linger.ms": 50,
            "batch.size": 512 * 1024,
            "compression.type": "none",
            "queue.buffering.max.messages": 200_000,
        }
    )

    def delivered(error: ck.KafkaError | None, _message: ck.Message) -> None:
        if error:
            failed.append(error)

    size = 0
    for number, (key, value) in enumerate(itertools.islice(plays(seed), count)):
        size += len(value)
        while True:
            try:
                producer.produce(events.PLAYS, value, key, partition=number % partitions, on_delivery=delivered)
                break
            except BufferError:
                producer.poll(0.1)
        if number % 1000 == 0:
            producer.poll(0)
    producer.flush()
    if failed:
        raise SystemExit(f"{len(failed)} of {count} plays were not acknowledged: {failed[0]}")
    return size / count
