"""The lake writer's speed and memory beside others, in one run. Prints Markdown.

Events of about 300 bytes in four partitions of the embedded broker, put there before anything is measured. Each part
is a process of its own and is measured from its first messages to its last file or commit; the starts of processes and
the joining of groups are left out for all alike. ``--only`` names parts, ``--events`` how many, ``--flush`` how many a
file.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import confluent_kafka as ck
import psutil

from playlake import events
from playlake.broker import Admin
from playlake.lake.options import secret
from playlake.lake.store import Store
from playlake.settings import Settings, load_settings
from playlake.stack import EmbeddedStack, attach

HERE = Path(__file__).parent
PARTITIONS = 4
VERSIONS = (100, 1_000, 10_000)
PARTS = ("bare", "quix", "plain", "ours", "no_offsets", "slow", "versions", "long")


def made(count: int) -> list[bytes]:
    """Some plays as a phone would send them, all different."""
    rng = random.Random(11)
    start = datetime.now(UTC) - timedelta(days=30)
    found = []
    for n in range(count):
        artist, track = rng.randrange(2_000), rng.randrange(20)
        event = events.Event(
            event_id=str(uuid.UUID(int=rng.getrandbits(128))),
            user_id=f"listener-{rng.randrange(500):04}",
            event_type="play",
            track_id=f"track-{artist:05}-{track:02}",
            track_name=f"Track {track} of {artist}",
            artist_name=f"Artist {artist}",
            album_name=f"Album {artist}-{track // 8}",
            duration_ms=rng.randrange(90_000, 400_000),
            played_at=start + timedelta(seconds=n),
            device_type="Smartphone",
            source="simulator",
        )
        found.append(events.encode(event))
    return found


def produce(settings: Settings, count: int) -> float:
    """Put ``count`` events into the topic; their mean size in bytes."""
    with Admin(settings) as admin:
        admin.ensure(events.TOPICS)
    bodies = made(min(count, 200_000))
    producer = ck.Producer(
        {"bootstrap.servers": settings.kafka_bootstrap, "acks": "all", "linger.ms": 50, "batch.size": 1_000_000}
    )
    for n in range(count):
        while True:
            try:
                producer.produce(events.PLAYS, bodies[n % len(bodies)], key=b"someone", partition=n % PARTITIONS)
                break
            except BufferError:
                producer.poll(0.1)
    if left := producer.flush(120):
        raise SystemExit(f"{left} messages were not acknowledged")
    return statistics.fmean(map(len, bodies))


def peers() -> str:
    """The interpreter that has Quix Streams, made once."""
    home = HERE.parent / ".venv-bench"
    python = home / "bin" / "python"
    uv = str(Path(sys.executable).with_name("uv"))
    if not python.exists():
        subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(home)], check=True)
    lock = HERE / "requirements-writer.lock"
    subprocess.run(
        [uv, "pip", "install", "-q", "--python", str(python), "--require-hashes", "-r", str(lock)], check=True
    )
    return str(python)


def run(part: str, given: dict[str, Any], python: str = sys.executable) -> dict[str, Any]:
    """One part; what it printed."""
    done = subprocess.run(
        [python, str(HERE / "writer_peers.py"), part, json.dumps(given)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(HERE.parent / "platform")},
    )
    if done.returncode:
        raise SystemExit(f"{part} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure, and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--flush", type=int, default=Settings.model_fields["catchup_rows"].default)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as ending:
        settings = load_settings(_env_file=None, home=Path(folder) / "home")
        stack = EmbeddedStack(settings)
        stack.up()
        ending.callback(stack.down)
        processes = json.loads((Path(folder) / "home" / "run" / "stack.json").read_text())["processes"]
        measure(attach(settings), asked, [psutil.Process(p["pid"]) for p in processes.values()])


def servers_cpu(servers: list[psutil.Process]) -> float:
    """Seconds of processor time that broker, store and cache have used so far."""
    return sum(sum(server.cpu_times()[:2]) for server in servers)


def measure(settings: Settings, asked: argparse.Namespace, servers: list[psutil.Process]) -> None:
    """All parts that were asked for, on one stack."""
    size = produce(settings, asked.events)
    print(f"{asked.events:,} events of {size:.0f} bytes, {PARTITIONS} partitions, {asked.flush:,} a flush\n")
    print("| | events/s | beside Quix | beside bare | CPU s per million | of broker and store | peak MB |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    rates: dict[str, float] = {}

    def given(**more: Any) -> dict[str, Any]:
        bucket = f"bench-{uuid.uuid4().hex[:8]}"
        Store(settings).ensure_bucket(bucket)
        return {
            "kafka": settings.kafka_bootstrap,
            "s3": settings.s3_endpoint,
            "key": secret(settings.s3_access_key),
            "secret": secret(settings.s3_secret_key),
            "partitions": PARTITIONS,
            "events": asked.events,
            "flush": asked.flush,
            "bucket": bucket,
            "group": f"bench-{bucket}",
            **more,
        }

    def row(name: str, kind: str, python: str = sys.executable, *, repeats: int = 0, **more: Any) -> dict[str, Any]:
        before = servers_cpu(servers)
        found = sorted((run(kind, given(**more), python) for _ in range(repeats or asked.repeats)), key=_rate)
        theirs = (servers_cpu(servers) - before) / sum(f["events"] for f in found) * 1e6
        middle = found[len(found) // 2]
        rates[name] = _rate(middle)
        quix = f"{rates[name] / rates['Quix Streams']:.1f}" if "Quix Streams" in rates else ""
        bare = f"{rates[name] / rates['bare consume']:.2f}" if "bare consume" in rates else ""
        cpu = middle["cpu"] / middle["events"] * 1e6
        peak = max(f["peak_mb"] for f in found)
        spread = f"{_rate(found[0]):,.0f} to {_rate(found[-1]):,.0f}"
        print(
            f"| {name} | {rates[name]:,.0f} ({spread}) | {quix} | {bare} | {cpu:.1f} | {theirs:.1f} | {peak} |",
            flush=True,
        )
        return middle

    if "bare" in asked.only:
        row("bare consume", "bare")
    if "quix" in asked.only:
        row("Quix Streams", "quix", peers())
    if "plain" in asked.only:
        row("plain loop (20,000 events)", "plain", events=20_000)
    if "ours" in asked.only:
        found = row("playlake", "ours")
        told = f"decode {found['decode']:.2f} s, upload and commit {found['write']:.2f} s of {found['seconds']:.2f} s"
        note = f"{found['commits']} commits; {told}"
    else:
        note = ""
    if "no_offsets" in asked.only:
        row("playlake without offsets in its commits", "ours", no_offsets=True)
    if "slow" in asked.only:
        from delay import delayed

        with delayed(settings.s3_endpoint or "", 0.020) as endpoint:
            row("playlake, 20 ms more for each S3 call", "ours", s3=endpoint)
    for versions in VERSIONS if "versions" in asked.only else ():
        # Once: making 10,000 versions takes minutes.
        aged = given(versions=versions)
        run("age", aged)
        row(f"playlake, table of {versions:,} versions", "ours", repeats=1, bucket=aged["bucket"])
    if "long" in asked.only:
        produce(settings, 4 * asked.events)
        found = run("ours", given())
        middle = found["samples_mb"][len(found["samples_mb"]) // 5]
        cpu = found["cpu"] / found["events"] * 1e6
        print(f"| playlake, {found['events']:,} events | {_rate(found):,.0f} | | | {cpu:.1f} | | {found['peak_mb']} |")
        note += f"; memory after a fifth {middle} MB, at the end {found['samples_mb'][-1]} MB"
    print(f"\n{note}\n{time.strftime('%Y-%m-%d')}, `{' '.join(['python', *sys.argv])}`")


def _rate(found: dict[str, Any]) -> float:
    return float(found["events"] / found["seconds"])


if __name__ == "__main__":
    main()
