"""How fast the lake writer is: `make bench-writer`, or this file with .venv's Python.

One topic of 4 partitions with so many plays of about 300 bytes, on the embedded stack (or, with --kafka, Apache Kafka
and a store in containers) in a folder of its own. Everything in one run, one after the other, each in a process and a
bucket of its own: our writer; Quix Streams' S3 file sink with Parquet; the plain loop on a part of the events; bare
librdkafka; our writer without offsets in its commits, behind 20 ms of added latency for each S3 call, on tables of 100,
1,000 and 10,000 versions, and over five times the events. Printed as Markdown.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import measure, plays, versions
from playlake import events
from playlake.lake.store import Store
from playlake.settings import Settings, load_settings
from playlake.stack import EmbeddedStack, attach

HERE = Path(__file__).resolve().parent
PARTS = ("ours", "quix", "plain", "bare", "offsets", "latency", "versions", "memory")
VERSIONS = (100, 1_000, 10_000)
LATENCY_MS = 20


@dataclass(slots=True)
class Bench:
    """The servers, what is to be measured, and what has been."""

    settings: Settings
    work: Path
    count: int
    plain: int
    repeat: int
    rows: list[tuple[str, int, list[measure.Ran]]] = field(default_factory=list)

    def environment(self, bucket: str, **more: str) -> dict[str, str]:
        """Addresses of the servers, and a bucket."""
        given = self.settings.model_copy(
            update={"profile": "containers", "s3_bucket": bucket, "broker_port": 0, "s3_port": 0, "redis_port": 0}
        )
        return {**given.environment(), **more}

    def bucket(self) -> str:
        """A new one."""
        name = f"bench-{uuid.uuid4().hex[:12]}"
        Store(self.settings).ensure_bucket(name)
        return name

    def ours(self, name: str, kind: str = "ours", *, bucket: str | None = None, **more: str) -> list[measure.Ran]:
        """The writer, so many times; each into an empty lake unless a bucket is given."""
        command = [sys.executable, str(HERE / "contenders.py"), kind, str(self.count)]
        return self._run(name, command, self.count, 1 if bucket else self.repeat, bucket, **more)

    def _run(
        self, name: str, command: list[str], rows: int, repeat: int, bucket: str | None = None, **more: str
    ) -> list[measure.Ran]:
        found = []
        for _ in range(repeat):
            ran = measure.run(command, self.environment(bucket or self.bucket(), **more))
            if ran.said["rows"] < rows:
                raise SystemExit(f"{name}: {ran.said['rows']:,} of {rows:,} events")
            measure.say(f"{name}: {ran.said['rows'] / ran.said['work_s']:,.0f}/s, {ran.said}")
            found.append(ran)
        self.rows.append((name, rows, found))
        return found

    # -- the parts -------------------------------------------------------------------------------------------------

    def quix(self) -> None:
        """Quix Streams, in an environment of its own."""
        python = quix_python(self.work)
        command = [str(python), str(HERE / "quix_sink.py"), str(self.count)]
        self._run("(a) Quix Streams' S3 file sink, zstd Parquet, at least once", command, self.count, self.repeat)

    def plain_loop(self) -> None:
        """json, pandas, a file every 100 events, on a part of the events."""
        command = [sys.executable, str(HERE / "contenders.py"), "plain", str(self.plain)]
        self._run(f"(b) plain loop, first {self.plain:,} events", command, self.plain, 1)

    def bare(self) -> None:
        """librdkafka alone."""
        command = [sys.executable, str(HERE / "contenders.py"), "bare", str(self.count)]
        self._run("(c) bare librdkafka", command, self.count, self.repeat)

    def latency(self) -> None:
        """Each S3 call 20 ms later."""
        from tests.chaos.proxy import Faults, S3Proxy

        assert self.settings.s3_endpoint
        with S3Proxy(self.settings.s3_endpoint, Faults(latency_s=LATENCY_MS / 1000)) as proxy:
            self.ours(f"playlake, {LATENCY_MS} ms added to each S3 call", PLAYLAKE_S3_ENDPOINT=proxy.url)

    def versions(self) -> None:
        """Into tables that have many versions already."""
        for number in VERSIONS:
            bucket = self.bucket()
            measure.say(f"making {number:,} versions")
            versions.make(self.settings.model_copy(update={"s3_bucket": bucket}), events.PLAYS, number)
            self.ours(f"playlake, table of {number:,} versions and files", bucket=bucket)

    def memory(self) -> list[str]:
        """Five times the events, and whether memory grows with them."""
        measure.say("filling the topic further")
        plays.fill(self.settings, 4 * self.count, seed=2)
        self.count *= 5
        self.repeat = 1
        (ran,) = self.ours(f"playlake, {self.count:,} events")
        return [flatness(ran)]


def flatness(ran: measure.Ran) -> str:
    """Memory by fifths of the run, in words."""
    began = ran.seconds - ran.said["work_s"]
    samples = [(at - began, pss) for at, pss in ran.memory if at >= began]
    fifth = ran.said["work_s"] / 5
    parts = [[p for at, p in samples if n * fifth <= at < (n + 1) * fifth] or [0.0] for n in range(5)]
    shown = ", ".join(f"{statistics.median(p):,.0f} ({max(p):,.0f})" for p in parts)
    return f"Memory (PSS, MiB) by fifths of the long run, median (most): {shown}."


def quix_python(work: Path) -> Path:
    """An environment with what bench/requirements-writer.lock says."""
    folder = work / "venv-quix"
    uv = Path(sys.executable).parent / "uv"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    lock = HERE / "requirements-writer.lock"
    python = folder / "bin" / "python"
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", lock], check=True)
    return python


def table(bench: Bench) -> Iterator[str]:
    """The figures as Markdown; rates are of the median run."""
    yield (
        "| what | events/s | beside (a) | beside (c) | work, s | whole command, s | CPU, s | peak memory, MiB |\n"
        "|---|---:|---:|---:|---:|---:|---:|---:|"
    )
    rates = {name: statistics.median(r.said["rows"] / r.said["work_s"] for r in ran) for name, _, ran in bench.rows}
    beside = [next((rate for name, rate in rates.items() if name.startswith(start)), None) for start in ("(a)", "(c)")]
    for name, _, ran in bench.rows:
        ratios = " | ".join(f"{rates[name] / other:.2f}" if other else "" for other in beside)
        columns = (
            statistics.median(r.said["work_s"] for r in ran),
            statistics.median(r.seconds for r in ran),
            statistics.median(r.cpu_s for r in ran),
        )
        shown = " | ".join(f"{c:.1f}" for c in columns)
        yield f"| {name} | {rates[name]:,.0f} | {ratios} | {shown} | {max(r.peak_rss for r in ran):,.0f} |"


@contextmanager
def servers(work: Path, kafka: bool) -> Iterator[Settings]:
    """The embedded stack, or containers."""
    with ExitStack() as ended:
        if kafka:
            from tests.containers.servers import running

            yield ended.enter_context(running(work / "home"))
        else:
            settings = load_settings(_env_file=None, home=work / "home")
            stack = EmbeddedStack(settings)
            ended.callback(stack.down)
            stack.up(on_progress=measure.say)
            yield attach(settings)


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--plain-events", type=int, default=20_000, help="of the plain loop")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each, of which the median is taken")
    parser.add_argument("--only", default=",".join(PARTS), help=f"of {','.join(PARTS)}")
    parser.add_argument("--kafka", action="store_true", help="Apache Kafka and a store in containers (Docker)")
    options = parser.parse_args()
    only = options.only.split(",")
    if wrong := [part for part in only if part not in PARTS]:
        parser.error(f"no such part: {', '.join(wrong)} (of {', '.join(PARTS)})")
    with tempfile.TemporaryDirectory() as folder, servers(Path(folder), options.kafka) as settings:
        bench = Bench(settings, Path(folder), options.events, options.plain_events, options.repeat)
        measure.say("filling the topic")
        size = plays.fill(settings, bench.count)
        said = [f"{bench.count:,} plays of {size:.0f} bytes in {settings.kafka_partitions} partitions."]
        # Once in vain: broker and store have then read what they read of it.
        measure.run([sys.executable, str(HERE / "contenders.py"), "bare", str(bench.count)], bench.environment("bench"))
        if "ours" in only:
            bench.ours("**playlake**, exactly once")
        if "offsets" in only:
            bench.ours("the same writer without offsets in its commits", "without-offsets")
        steps = {"quix": bench.quix, "plain": bench.plain_loop, "bare": bench.bare, "latency": bench.latency}
        for part, step in {**steps, "versions": bench.versions}.items():
            if part in only:
                step()
        if "memory" in only:
            said += bench.memory()
        print("\n".join([*table(bench), "", *said]))


if __name__ == "__main__":
    main()
