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
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import confluent_kafka as ck
import psutil

from playlake import events
from playlake.broker import Admin
from playlake.broker.consume import FETCHING
from playlake.lake.options import secret
from playlake.lake.store import Store
from playlake.settings import Settings, load_settings
from playlake.stack import EmbeddedStack, attach
from tests.support.interruptible import interruptible
from tests.support.s3_proxy import Faults, S3Proxy

HERE = Path(__file__).parent
PARTITIONS = 4
VERSIONS = (100, 1_000, 10_000)
FETCHED = {"fetching": FETCHING}
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


@dataclass(frozen=True)
class Part:
    """What one process does: a function of ``writer_peers.py``, what it is given beside what all are, whose Python."""

    name: str
    kind: str
    given: Mapping[str, Any] = field(default_factory=dict)
    python: str = sys.executable


def servers_cpu(servers: list[psutil.Process]) -> float:
    """Seconds of processor time that broker, store and cache have used so far."""
    return sum(sum(server.cpu_times()[:2]) for server in servers)


def measure(settings: Settings, asked: argparse.Namespace, servers: list[psutil.Process]) -> None:
    """All parts that were asked for, on one stack."""
    size = produce(settings, asked.events)
    print(f"{asked.events:,} events of {size:.0f} bytes, {PARTITIONS} partitions, {asked.flush:,} a flush\n")
    print("| | events/s | beside Quix | beside the faster bare | CPU s per million | of broker and store | peak MB |")
    print("|---|---:|---:|---:|---:|---:|---:|")

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

    def turns(*parts: Part, repeats: int = asked.repeats) -> list[dict[str, Any]]:
        """Parts in turns, since a machine may be half as fast some minutes later; the middle one of each."""
        runs: list[list[dict[str, Any]]] = [[] for _ in parts]
        theirs = [0.0] * len(parts)
        for turn in range(repeats):
            for n, part in enumerate(parts):
                print(f"turn {turn + 1} of {repeats}: {part.name}", file=sys.stderr)
                before = servers_cpu(servers)
                runs[n].append(run(part.kind, given(**part.given), part.python))
                theirs[n] += servers_cpu(servers) - before
        middle = [sorted(found, key=_rate)[len(found) // 2] for found in runs]
        quix, bare = (
            max((_rate(m) for m, part in zip(middle, parts, strict=True) if part.kind == kind), default=0.0)
            for kind in ("quix", "bare")
        )
        for part, found, of_middle, servers_s in zip(parts, runs, middle, theirs, strict=True):
            rate, count = _rate(of_middle), sum(f["events"] for f in found)
            spread = f"{min(map(_rate, found)):,.0f} to {max(map(_rate, found)):,.0f}"
            cells = (
                part.name,
                f"{rate:,.0f} ({spread})",
                f"{rate / quix:.1f}" if quix else "",
                f"{rate / bare:.2f}" if bare else "",
                f"{of_middle['cpu'] / of_middle['events'] * 1e6:.1f}",
                f"{servers_s / count * 1e6:.1f}",
                f"{max(f['peak_mb'] for f in found)}",
            )
            print(f"| {' | '.join(cells)} |", flush=True)
        return middle

    bare, ours = Part("bare consume that fetches as playlake does", "bare", FETCHED), Part("playlake", "ours")
    parts = {
        "bare": [Part("bare consume", "bare"), bare],
        "quix": [Part("Quix Streams", "quix", FETCHED, peers() if "quix" in asked.only else "")],
        "ours": [ours],
        "no_offsets": [Part("playlake without positions in its commits", "ours", {"no_offsets": True})],
    }
    chosen = [part for name in parts if name in asked.only for part in parts[name]]
    note = ""
    for part, found in zip(chosen, turns(*chosen), strict=True):
        if part is ours:
            told = f"decode {found['decode']:.2f} s, upload and commit {found['write']:.2f} s"
            note = f"{found['flushes']} flushes; {told} of {found['seconds']:.2f} s"
    if "plain" in asked.only:
        turns(Part("plain loop (20,000 events)", "plain", {"events": 20_000}))
    if "slow" in asked.only:
        with S3Proxy(settings.s3_endpoint, Faults(latency_s=0.020)) as store:
            turns(replace(bare, name="bare, again"), Part("playlake, 20 ms more a call", "ours", {"s3": store.url}))
    if "versions" in asked.only:
        aged = {versions: given(versions=versions) for versions in VERSIONS}
        for bucket in aged.values():
            run("age", bucket)
        turns(  # once: making 10,000 versions takes minutes
            replace(bare, name="bare, again"),
            replace(ours, name="playlake, new table"),
            *(Part(f"playlake, table of {v:,} versions", "ours", {"bucket": a["bucket"]}) for v, a in aged.items()),
            repeats=1,
        )
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
    interruptible(main)
