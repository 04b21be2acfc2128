"""Running the command as a person does, and making exports to feed it."""

from __future__ import annotations

import atexit
import functools
import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import duckdb
import psutil
import s3fs

from playlake import events
from playlake.lake import tables
from playlake.lake.options import storage_options
from playlake.lake.store import Store
from playlake.settings import PREFIX, Settings, load_settings
from playlake.stack import attach
from playlake.stack.process import leftovers
from playlake.warehouse import duck
from playlake.warehouse.build import folder
from playlake.warehouse.publish import current
from tests.forks import Nursery

HISTORY = "TEST_HISTORY"
"""Environment variable that names a real export to test with, instead of a made one."""


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one object on standard output."""
        return json.loads(self.out)


@functools.cache
def nursery() -> Nursery:
    """What forks the commands of this process's tests; it goes with it."""
    made = Nursery(os.environ, Path.cwd())
    atexit.register(made.close)
    return made


class Cli:
    """``playlake`` on a home of its own."""

    started: ClassVar[list[subprocess.Popen[str]]] = []
    """What tests have started and not waited for."""

    def __init__(self, home: Path, **settings: object) -> None:
        self.home = home
        settings = {"min_free_mb": 0, **settings}
        clean = {n: v for n, v in os.environ.items() if not n.startswith((PREFIX, "SNOWFLAKE_"))}
        self.env = {**clean, f"{PREFIX}HOME": str(home)} | {f"{PREFIX}{n.upper()}": str(v) for n, v in settings.items()}

    def start(self, *args: str, err: int = subprocess.PIPE) -> subprocess.Popen[str]:
        """Run a command and do not wait.

        :param err: where its standard error goes: a pipe that nobody reads stops it after 64 KiB.
        """
        process = subprocess.Popen(
            [sys.executable, "-m", "playlake", *args],
            stdout=subprocess.PIPE,
            stderr=err,
            text=True,
            env=self.env,
            cwd=self.home.parent,
        )
        self.started.append(process)
        return process

    def __call__(self, *args: str, timeout: float = 600, check: int | None = 0) -> Done:
        """Run a command to its end, in a fork (:mod:`tests.forks`); ``check`` is the exit code it must have."""
        with tempfile.TemporaryDirectory() as folder:
            files = Path(folder, "out"), Path(folder, "err")
            process = nursery().start(*args, out=files[0], err=files[1], env=self.env, cwd=self.home.parent)
            try:
                code = process.wait(timeout)
            except BaseException:
                process.kill()
                raise
            out, err = (file.read_text() for file in files)
        done = Done(code, out, err)
        assert "Traceback" not in err, err
        if check is not None:
            assert done.code == check, f"{args}: exit code {code}\n{out}\n{err}"
        return done

    def json(self, *args: str, **kwargs: Any) -> Any:
        """Run a command with ``--json``."""
        return self(*args, "--json", **kwargs).json

    def settings(self) -> Any:
        """Settings with the addresses of the running stack, for clients of the test's own."""
        mine: dict[str, Any] = {n.removeprefix(PREFIX).lower(): v for n, v in self.env.items() if n.startswith(PREFIX)}
        return attach(load_settings(_env_file=None, **mine))

    def pid(self, name: str) -> int:
        """Process id of one of the servers."""
        return int(self.state()["processes"][name]["pid"])

    def state(self) -> Any:
        """What the home's state file says."""
        return json.loads((self.home / "run" / "stack.json").read_text())

    def kill(self, name: str) -> None:
        """kill -9 of one of the servers, waited for."""
        process = psutil.Process(self.pid(name))
        process.kill()
        process.wait(10)

    def processes(self) -> list[psutil.Process]:
        """Every process of this home that lives."""
        return leftovers(self.home.resolve(), [])


class Webhook:
    """A real webhook on loopback, and what it was sent: path and message. One with ``bad`` in its path fails."""

    def __init__(self) -> None:
        self.got: list[tuple[str, Any]] = []
        got = self.got

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                got.append((self.path, json.loads(self.rfile.read(int(self.headers["content-length"])))))
                self.send_response(500 if "bad" in self.path else 200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://127.0.0.1:{self.server.server_port}/hook"
        Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def told(self) -> list[Any]:
        """The messages."""
        return [message for _, message in self.got]

    def close(self) -> None:
        """Stop listening."""
        self.server.shutdown()
        self.server.server_close()


def addressed(settings: Settings, **changes: Any) -> Settings:
    """A running embedded stack as servers that somebody else runs: some of its addresses may then be other ones."""
    ports = {"broker_port": 0, "s3_port": 0, "redis_port": 0}
    return settings.model_copy(update={"profile": "containers", **ports, **changes})


def module_at(path: Path) -> Any:
    """A Python file that is in no package, as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def lake_of_its_own(settings: Settings, folder: Path) -> Settings:
    """The same servers with another bucket and home."""
    return settings.model_copy(update={"s3_bucket": f"lake-{uuid.uuid4().hex[:12]}", "home": folder / "home"})


def drop_bucket(settings: Settings) -> None:
    """Remove the lake's bucket with all that is in it, and the room that the store keeps for it."""
    with suppress(FileNotFoundError):
        Store(settings)._fs.rm(settings.s3_bucket, recursive=True)


def assert_whole(cli: Cli, *, pending: int | None = 0) -> Any:
    """``lake verify`` finds nothing wrong; returns its report."""
    report = cli.json("lake", "verify")
    assert (report["lost"], report["doubled"], report["unreadable"], report["misplaced"]) == (0, 0, 0, 0)
    if pending is not None:
        assert report["pending"] == pending
    return report


def bronze_ids(cli: Cli) -> list[str]:
    """Every event id in the bronze plays, with repeats."""
    settings = cli.settings()
    with duck.connect(settings) as connection:
        uri = f"s3://{settings.s3_bucket}/{tables.FOLDERS[events.PLAYS]}"
        return [r[0] for r in connection.execute(f"select event_id from delta_scan('{uri}')").fetchall()]


def parquet_files(cli: Cli, folder: str) -> tuple[s3fs.S3FileSystem, list[str]]:
    """A client of the lake's store that is not ours, and the Parquet files below a folder."""
    settings = cli.settings()
    options = storage_options(settings)
    filesystem = s3fs.S3FileSystem(
        key=options["AWS_ACCESS_KEY_ID"],
        secret=options["AWS_SECRET_ACCESS_KEY"],
        endpoint_url=settings.s3_endpoint,
        skip_instance_cache=True,
    )
    return filesystem, [f for f in filesystem.find(f"{settings.s3_bucket}/{folder}") if f.endswith(".parquet")]


def age(path: Path) -> Path:
    """Let a file or folder look as if it had been there for a while."""
    for file in [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]:
        os.utime(file, (time.time() - 60,) * 2)
    return path


def plays_of(cli: Cli, user: str) -> int:
    """What published gold counts of a listener."""
    build = current(folder(load_settings(_env_file=None, home=cli.home)))
    assert build
    with duckdb.connect(str(build.path), read_only=True) as gold:
        found = gold.execute(
            "select coalesce(sum(total_plays), 0) from gold.user_daily_listening where user_id = ?", [user]
        )
        return int(found.fetchall()[0][0])


def wait_for(what: Callable[[], Any], seconds: float = 60, every: float = 0.1) -> Any:
    """The first true value of ``what()``."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(every)
    raise AssertionError(f"did not come true within {seconds} s")


def end(process: subprocess.Popen[str], number: signal.Signals = signal.SIGINT, timeout: float = 60) -> Done:
    """Signal a command and wait for its end."""
    process.send_signal(number)
    out, err = process.communicate(timeout=timeout)
    err = err or ""
    assert "Traceback" not in err, err
    return Done(process.returncode, out, err)


def lands(writer: subprocess.Popen[str]) -> bool:
    """Wait until a writer has landed something: it has partitions of its own."""
    assert writer.stderr is not None
    return any("rows landed" in line for line in writer.stderr)


def make_export(folder: Path, rows: int, *, files: int = 2, seed: int = 1) -> Path:
    """An account export in Spotify's form: some tracks of a few artists, identical rows and zero lengths among them."""
    rng = random.Random(seed)
    at = datetime(2024, 1, 1, 8, tzinfo=UTC)
    made: list[dict[str, Any]] = []
    while len(made) < rows:
        at += timedelta(minutes=rng.choice((0, 0, 2, 3, 4, 60)))
        artist = rng.randrange(25)
        row = {
            "endTime": at.strftime("%Y-%m-%d %H:%M"),
            "artistName": f"Künstler {artist}",
            "trackName": f"Stück {artist}-{rng.randrange(12)}",
            "msPlayed": rng.choice((0, 900, 30_000, 180_000, 240_000, 900_000)),
        }
        made += [row] * (2 if rng.random() < 0.02 else 1)
    folder.mkdir(parents=True, exist_ok=True)
    made = made[:rows]
    size = -(-rows // files)
    for n in range(files):
        part = made[n * size : (n + 1) * size]
        (folder / f"StreamingHistory{n}.json").write_text(json.dumps(part, ensure_ascii=False, indent=1), "utf-8")
    return folder


def history(folder: Path) -> Path:
    """The real export that ``TEST_HISTORY`` names, or a made one of 5,000 plays."""
    given = os.environ.get(HISTORY)
    return Path(given) if given else make_export(folder, 5_000, files=3)


def rows_of(export: Path) -> list[dict[str, Any]]:
    """All rows of an export, read all at once by the standard library."""
    files = sorted(export.glob("StreamingHistory*.json"))
    return [row for file in files for row in json.loads(file.read_text("utf-8"))]
