"""Two days of the whole platform in half an hour: `make soak`, or this file with .venv's Python.

48 simulated hours. In each, the commands of the hourly DAGs run as the DAGs run them (fetch, land, check; build in
stages, test, publish), every 24th those of the daily one. Writer, API and a feed of plays run all along, and one of
writer, broker, store, cache and API is killed (-9) now and then, by a seed; in the last quarter (`--calm`) none is, to
see what grows in one that lives. The plays' times and their messages' are those of the simulated hour; all clocks are
true, so what a week of waiting would let `lake prune` remove (files that compaction has replaced) is removed at the end
of each day by Delta's own vacuum.

At the end: nothing lost, nothing doubled, every acknowledged event in the lake, gold equal to a rebuild, memory flat
and disk no more than what came. Printed as Markdown, with a chart of memory and disk as SVG. Exit code 1 when anything
of it does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from deltalake import DeltaTable

from bench import soak_end
from bench.measure import ROOT, say
from bench.soak_chart import chart
from bench.soak_world import Dag, FailedError, Kept, Killer, Watch, sizes
from playlake.lake import tables
from playlake.lake.options import storage_options
from tests.support.commands import ProcessCli
from tests.support.interruptible import interruptible

DAY = 24
LAND_FOR = "8s"
"""As ORCHESTRATION_LAND_FOR, which is 5m unless set: where plays come all the time, nothing is ever idle."""
STAGES = ("silver", "silver-tests", "gold", "gold-tests", "recommendations", "publish")
WRONG = ("lost", "doubled", "expired", "unreadable", "misplaced", "log_faults")


@dataclass
class Hour:
    """What one cycle did and left."""

    seconds: float = 0.0
    rows: int = 0
    files: int = 0
    build: int = 0
    api: int = 0
    memory: dict[str, float] = field(default_factory=dict)
    disk: dict[str, float] = field(default_factory=dict)


class Soak:
    """The platform of one home, and the hours it has gone through."""

    def __init__(self, work: Path, options: argparse.Namespace) -> None:
        # Messages of the first simulated hour look as old as all that are to come.
        late = (options.cycles + 2) * 3600
        self.cli = ProcessCli(work / "home", inbox=work / "inbox", flush_seconds=10, max_lag_s=late)
        self._work, self._options = work, options
        self._hour_file, self._ids_file = work / "hour", work / "ids"
        self._start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=options.cycles)
        self._since: dict[str, int] = {}
        self._calm = options.cycles - (options.cycles // 4 if options.calm is None else options.calm)
        """The hour from which on nothing is killed: only what lives long can show that its memory grows."""
        self.hours: list[Hour] = []
        self.problems: list[str] = []
        self.dag = Dag(self.cli)

    def begin(self) -> None:
        """Start everything."""
        (self._work / "inbox").mkdir()
        self._set_hour(0)
        self.cli.json("up")
        self.cli.json("land", "--until-idle")
        port = {"PLAYLAKE_API_PORT": "0"}
        feed = [str(ROOT / "bench" / "soak_feed.py"), str(self._hour_file), str(self._ids_file)]
        addresses = self.cli.settings().model_copy(update={"profile": "containers"}).environment()
        quiet = dict.fromkeys(("PLAYLAKE_BROKER_PORT", "PLAYLAKE_S3_PORT", "PLAYLAKE_REDIS_PORT"), "0")
        self._feed = Kept(
            "feed",
            [*feed, str(self._options.rate), str(self._options.seed)],
            {**self.cli.env, **addresses, **quiet},
            self._work / "feed.log",
        )
        self.kept = {
            "writer": Kept("writer", ["-m", "playlake", "land"], self.cli.env, self._work / "writer.log"),
            "api": Kept(
                "api", ["-m", "playlake", "serve", "api", "--json"], {**self.cli.env, **port}, self._work / "api.log"
            ),
        }
        self.watch = Watch(self.cli, {**self.kept, "feed": self._feed})
        self.watch.start()
        self.killer = Killer(self.cli, self.kept, self._options.seed, self._options.kill_every)
        self.killer.start()

    def _set_hour(self, number: int) -> None:
        new = self._work / "hour.new"
        new.write_text((self._start + timedelta(hours=number)).isoformat())
        new.replace(self._hour_file)

    def go_through(self, number: int) -> None:
        """One simulated hour."""
        started = time.monotonic()
        self._set_hour(number)
        hour = Hour()
        if number == self._calm:
            self.killer.stop()
        with suppress(FailedError):
            self._ingest(hour)
        with suppress(FailedError):
            self._build(hour)
        if (number + 1) % DAY == 0 or number + 1 == self._options.cycles:
            with suppress(FailedError):
                self._maintain()
        hour.api = self._ask_api()
        while (left := self._options.seconds - (time.monotonic() - started)) > 0:
            time.sleep(min(left, 1.0))
        hour.seconds = time.monotonic() - started
        hour.memory, hour.disk = self.watch.take(), sizes(self.cli.home)
        self.hours.append(hour)
        say(
            f"hour {number + 1}: {hour.seconds:.0f} s, {hour.rows:,} rows, build {hour.build}, {hour.files} files,"
            f" killed {dict(self.killer.kills)}, tried again {self.dag.retries.total()}, API {hour.api}"
        )

    def _ingest(self, hour: Hour) -> None:
        """spotify_ingestion."""
        dag = self.dag
        dag("inbox", accept=(0, 1))
        now = dag("lake", "arrived")["versions"]
        since = self._since if all(0 <= v <= now.get(t, -1) for t, v in self._since.items()) else {}
        if not (dag("lake", "pending")["pending"] or self._arrived(since)["total"]):
            return
        dag("land", "--until-idle", "--for", LAND_FOR)
        found = self._arrived(since)
        hour.rows = found["total"]
        hour.files = self._verify()
        dag("lake", "pending", "--check")
        dag("lake", "arrived", "--check", "--since", json.dumps(since))
        self._since = found["versions"]

    def _arrived(self, since: dict[str, int]) -> Any:
        return self.dag("lake", "arrived", "--since", json.dumps(since))

    def _verify(self) -> int:
        report = self.dag("lake", "verify", accept=(0, 1))
        if wrong := {name: report[name] for name in WRONG if report[name]}:
            self.problems.append(f"hour {len(self.hours) + 1}: verify says {wrong}")
        return int(report["files"])

    def _build(self, hour: Hour) -> None:
        """warehouse_transformation."""
        build = self.dag("build", "--stage", "begin")["build"]
        if build is None:
            return
        for stage in STAGES:
            done = self.dag("build", "--stage", stage, "--of", build)
        self.dag("wait", "--build", str(done["version"]), "--for", "1m")
        hour.build = int(done["version"])

    def _maintain(self) -> None:
        """lake_maintenance."""
        self._verify()
        self.dag("lake", "compact")
        self.dag("lake", "prune")
        settings = self.cli.settings()
        for one in (*tables.FOLDERS.values(), tables.DEAD_LETTERS_FOLDER):
            table = DeltaTable(f"s3://{settings.s3_bucket}/{one}", storage_options=storage_options(settings))
            # Only files that the log says were replaced: not what a writer is just about to commit.
            table.vacuum(0, dry_run=False, enforce_retention_duration=False, full=False)

    def _ask_api(self) -> int:
        """How many seconds the API takes to answer, up to 30: it may just have been killed. -1: it did not."""
        lines = (self._work / "api.log").read_text().splitlines()
        urls = [json.loads(line)["url"] for line in lines if line.startswith("{") and '"url"' in line]
        started = time.monotonic()
        while urls and time.monotonic() - started < 30:
            with suppress(httpx.HTTPError):
                if httpx.get(f"{urls[-1]}/health", timeout=5).status_code == 200:
                    return int(time.monotonic() - started)
            time.sleep(0.5)
            lines = (self._work / "api.log").read_text().splitlines()
            urls = [json.loads(line)["url"] for line in lines if line.startswith("{") and '"url"' in line]
        return -1

    def close(self) -> None:
        """Stop whatever still runs."""
        with suppress(Exception):
            self.killer.stop()
        with suppress(Exception):
            self.watch.stop()
        for kept in (*getattr(self, "kept", {}).values(), *([self._feed] if hasattr(self, "_feed") else [])):
            kept.stop()
        self.cli("down")

    # -- the end ---------------------------------------------------------------------------------------------------

    def finish(self) -> dict[str, Any]:
        """Stop the feed, land all, and compare: log with lake, what was acknowledged with lake, gold with a rebuild."""
        self.killer.stop()
        self.watch.stop()
        if self._feed.stop() != 0:
            self.problems.append("the feed did not end well")
        if (code := self.kept["writer"].stop()) != 0:
            self.problems.append(f"SIGTERM ended the writer with code {code}")
        self.kept["api"].stop()
        self.cli.json("land", "--until-idle")
        report = self.cli.json("lake", "verify", check=None)
        wrong = {name: report[name] for name in (*WRONG, "pending")}
        if any(wrong.values()):
            self.problems.append(f"at the end verify says {wrong}")
        self.problems += soak_end.grown(
            [h.memory for h in self.hours[self._calm :]], [h.disk for h in self.hours], [h.rows for h in self.hours]
        )
        self.problems += [f"playlake {name} failed for good, {n} times" for name, n in self.dag.failed.items()]
        self.problems += [f"hour {n}: nothing was published" for n, h in enumerate(self.hours, 1) if not h.build]
        self.problems += [f"hour {n}: the API did not answer" for n, h in enumerate(self.hours, 1) if h.api < 0]
        self.problems += [what for kept in (*self.kept.values(), self._feed) for what in kept.complaints()]
        if len(self._feed.codes) > 1:
            self.problems.append("the feed ended in between")
        acknowledged = set(self._ids_file.read_text().split("\n")) - {""}
        missing = acknowledged - soak_end.ids(self.cli)
        if missing:
            self.problems.append(f"{len(missing)} acknowledged events are not in the lake")
        gold = soak_end.compare_gold(self.cli, self._work)
        if different := {name: rows for name, rows in gold.items() if rows}:
            self.problems.append(f"gold is not equal to its rebuild: {different}")
        return {
            **wrong,
            "acknowledged": len(acknowledged),
            "missing": len(missing),
            "in_log": sum(p["in_log"] for p in report["partitions"]),
            "gold": gold,
        }

    def svg(self) -> str:
        """Memory and disk by hour."""
        roles = ("writer", "api", "feed", "broker", "store", "cache")
        return chart(
            [
                ("Memory, most in the hour", "MiB", {r: [h.memory.get(r) for h in self.hours] for r in roles}),
                ("Disk", "MiB", {name: [h.disk[name] for h in self.hours] for name in self.hours[0].disk}),
                ("Live files of the lake", "files", {"files": [h.files or None for h in self.hours]}),
            ],
            "simulated hour",
        )

    def markdown(self, seconds: float, found: dict[str, Any]) -> str:
        """What happened, for people."""
        kills = self.killer.kills
        lines = [
            f"{len(self.hours)} simulated hours in {seconds / 60:.0f} minutes, seed {self._options.seed}:"
            f" {found['acknowledged']:,} events acknowledged, {found['in_log']:,} in the log;"
            f" {kills.total()} kills -9 ({', '.join(f'{n} {name}' for name, n in sorted(kills.items()))});"
            f" {self.dag.retries.total()} commands tried again, {self.dag.failed.total()} failed for good.",
            "",
            f"At the end: {', '.join(f'{found[name]} {name}' for name in (*WRONG, 'pending', 'missing'))};"
            f" {len(found['gold'])} tables of gold, {sum(found['gold'].values())} rows different from a rebuild.",
            "",
            f"| memory, MiB, most in an hour | median, {self._calm} hours with kills"
            " | without, first half | without, second half |",
            "|---|---:|---:|---:|",
        ]
        for role in ("writer", "api", "feed", "broker", "store", "cache"):
            calm = self.hours[self._calm :]
            parts = (self.hours[: self._calm], calm[: len(calm) // 2], calm[len(calm) // 2 :])
            seen = [[h.memory[role] for h in part if role in h.memory] for part in parts]
            lines.append(f"| {role} | " + " | ".join(f"{_median(part):,.0f}" for part in seen) + " |")
        lines += ["", *(f"- {problem}" for problem in self.problems or ["nothing was wrong"])]
        for what, hours in (("memory", self.hours[self._calm :]), ("disk", self.hours)):
            if not soak_end.judged(hours):
                lines.append(f"- whether {what} grows is not judged: {len(hours)} hours of it are too few")
        return "\n".join(lines)


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2] if values else 0.0


def main() -> int:
    """Print what happened, and write the chart."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=48)
    parser.add_argument("--seconds", type=float, default=35.0, help="that an hour takes at least")
    parser.add_argument("--rate", type=float, default=50.0, help="events a second")
    parser.add_argument("--kill-every", type=float, default=25.0, help="seconds from kill to kill, on average")
    parser.add_argument("--calm", type=int, help="hours at the end without kills; a quarter unless told otherwise")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--chart", type=Path, help="file for the chart, SVG")
    parser.add_argument("--json", type=Path, help="file for all figures")
    options = parser.parse_args()
    if options.calm is not None and not 0 <= options.calm <= options.cycles:
        parser.error("--calm: no more hours than --cycles, and no fewer than none")
    for name in [n for n in os.environ if n.startswith("PLAYLAKE_")]:
        del os.environ[name]
    work = Path(tempfile.mkdtemp(prefix="playlake-soak-"))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what runs is to be stopped
    soak = Soak(work, options)
    started = time.monotonic()
    try:
        soak.begin()
        for number in range(options.cycles):
            soak.go_through(number)
        found = soak.finish()
    except BaseException:
        say(f"soak: it did not come to its end; data and logs are in {work}")
        raise
    finally:
        soak.close()
    for name, took in sorted(soak.dag.seconds.items(), key=lambda item: -item[1]):
        say(f"{took:8.1f} s  playlake {name}")
    print(soak.markdown(time.monotonic() - started, found))
    if options.chart:
        options.chart.write_text(soak.svg())
    if options.json:
        options.json.write_text(json.dumps({**found, "hours": [asdict(h) for h in soak.hours]}, indent=1))
    if soak.problems:
        say(f"soak: data and logs are in {work}")
        return 1
    shutil.rmtree(work, ignore_errors=True)
    return 0


if __name__ == "__main__":
    interruptible(main)
