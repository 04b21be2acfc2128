"""The listening of a soak: `soak_feed.py HOUR_FILE IDS_FILE RATE SEED`, with the addresses in ``PLAYLAKE_…``.

Simulated plays, skips and likes, so many a second, whose times (their own and their messages') are in the hour that the
file names: an ISO time, read again all along. SIGTERM ends it, when the broker has acknowledged all that was sent; the
ids of the acknowledged are then in the other file.
"""

from __future__ import annotations

import random
import signal
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import confluent_kafka as ck
import msgspec

from playlake import events
from playlake.broker import config
from playlake.settings import load_settings
from playlake.sources.simulator import Simulation, Simulator


def main() -> None:
    """Send until SIGTERM."""
    hour_file, ids_file, rate, seed = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: stopped.append(number))
    rng = random.Random(seed)
    acknowledged: list[str] = []
    producer = ck.Producer(
        {**config.librdkafka(load_settings(_env_file=None)), "acks": "all", "linger.ms": 1000, "log_level": 2}
    )
    simulator = Simulator(Simulation(plays=20_000, listeners=100, days=30, seed=seed))
    started = time.monotonic()
    for number, (topic, event) in enumerate(simulator.live()):
        while not stopped and (wait := started + number / rate - time.monotonic()) > 0:
            producer.poll(min(wait, 0.1))
        if stopped:
            break
        if not isinstance(event, events.Event):
            continue
        at = datetime.fromisoformat(hour_file.read_text()) + timedelta(seconds=rng.uniform(0, 3599))
        moved = {
            name: value + (at - event.played_at)
            for name in ("played_at", "started_at", "ended_at")
            if (value := getattr(event, name)) is not None
        }
        made = msgspec.structs.replace(event, **moved)

        def delivered(error: ck.KafkaError | None, _message: ck.Message, name: str = made.event_id) -> None:
            if not error:
                acknowledged.append(name)

        stamp = int(at.astimezone(UTC).timestamp() * 1000)
        while True:
            try:
                producer.produce(
                    topic, events.encode(made), made.user_id.encode(), timestamp=stamp, on_delivery=delivered
                )
                break
            except BufferError:
                producer.poll(0.5)
    producer.flush()
    ids_file.write_text("\n".join(acknowledged))


if __name__ == "__main__":
    main()
