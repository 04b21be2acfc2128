"""The embedded stack: up, status, down. Real servers from wheels, all on loopback, all below one folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import filelock
import psutil

from playlake.errors import PlaylakeError, UsageError
from playlake.settings import Settings
from playlake.stack import mending, ports, probes, process, servers, sockets
from playlake.stack.addresses import attach, with_addresses
from playlake.stack.ports import LOOPBACK
from playlake.stack.process import Recorded
from playlake.stack.servers import SERVERS
from playlake.stack.state import Home, State

_START_S = {"store": 60.0, "broker": 45.0, "cache": 15.0}

# SeaweedFS waits 15 s for metadata streams that only it itself holds open. All its clients are gone by then, and what
# it has acknowledged is written: it is ended after 2 s, as after any kill. Tansu waits for a store that may be gone.
_STOP_S = {"store": 2.0, "broker": 4.0}


@dataclass(slots=True)
class Up:
    """What :meth:`EmbeddedStack.up` did."""

    started: list[str] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)


class EmbeddedStack:
    """The three servers of one home."""

    def __init__(self, settings: Settings) -> None:
        if settings.profile != "embedded":
            raise UsageError(
                f"PLAYLAKE_PROFILE={settings.profile}: its servers are not playlake's to start or stop."
                " Set PLAYLAKE_PROFILE=embedded for those that it starts."
            )
        self._settings = settings
        self.home = Home(settings.home_path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One command at a time changes a home's processes."""
        self._prepare()
        lock = filelock.FileLock(self.home.run / "lock", timeout=120)
        try:
            with lock:
                yield
        except filelock.Timeout as error:
            raise PlaylakeError(
                f"Another playlake command is changing {self.home.path} and has not finished in two minutes."
                " Wait for it, or end it, and run this again."
            ) from error

    def up(self, *, on_progress: Callable[[str], None] | None = None) -> Up:
        """Start what does not run. A second call is a no-op; what a crash left behind is cleared away first."""
        say = on_progress or (lambda _text: None)
        with self.locked():
            state, done = self.home.load(), Up()
            if state.owner and state.owner.process() is None:
                state.owner, state.owned = None, []  # who starts the stack by hand keeps it
            self._clear_leftovers(state, done)
            missing = [n for n in SERVERS if not state.alive(n)]
            done.running = [n for n in SERVERS if n not in missing]
            if "store" in missing and "broker" in done.running:
                # Without its store the broker is of no use, and it would go on with a log that may be behind.
                self._stop(state, ["broker"])
                missing.append("broker")
                done.running.remove("broker")
                done.repaired.append("broker")
            if missing:
                self._check_disk()
                self._choose_ports(state, missing)
                for name in SERVERS:
                    if name in missing:
                        if name == "store":
                            done.repaired += [f"index of {v}" for v in mending.mend_indexes(self.home.data / name)]
                        say(f"starting {name}")
                        self._start(name, state)
                        done.started.append(name)
            self.home.save(state)
        return done

    def down(self) -> list[str]:
        """Stop all processes of this home, recorded or not; returns their names."""
        if not self.home.run.is_dir():
            return []
        with self.locked():
            state = self.home.load()
            stopped = [n for n in state.processes if state.alive(n)]
            # Those who use the servers first, then the servers, last the store that the broker writes to.
            for name in sorted(state.processes, key=lambda n: (n in SERVERS, n == "store")):
                self._stop(state, [name])
            sockets.end_leftovers([p for p in process.leftovers(self.home.path, []) if not _is_us(p)])
            shutil.rmtree(self.home.sockets, ignore_errors=True)
            state.owner, state.owned = None, []
            self.home.save(state)
        return stopped

    def status(self) -> list[dict[str, Any]]:
        """One row a process: name, state, process id, address, log."""
        state = self.home.load()
        names = [*SERVERS, *(n for n in state.processes if n not in SERVERS)]
        return [
            {
                "name": name,
                "state": "running" if state.alive(name) else "crashed" if name in state.processes else "stopped",
                "pid": state.processes[name].pid if state.alive(name) else None,
                "address": f"{LOOPBACK}:{port}" if (port := state.ports.get(self.port_name(name))) else None,
                "log": str(self.home.log(name)),
            }
            for name in names
        ]

    @staticmethod
    def port_name(name: str) -> str:
        """The key of a process's main port."""
        return "s3" if name == "store" else name

    # -- steps -----------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        try:
            self.home.prepare()
        except OSError as error:
            raise UsageError(
                f"The folder {self.home.path} can't be used ({error.strerror}). Set PLAYLAKE_HOME to one that can."
            ) from error

    def _check_disk(self) -> None:
        free = shutil.disk_usage(self.home.path).free // (1024 * 1024)
        if free < self._settings.min_free_mb:
            raise PlaylakeError(
                f"Too little disk for the embedded stack: {free} MiB free at {self.home.path},"
                f" {self._settings.min_free_mb} wanted. Free some, or set PLAYLAKE_HOME or PLAYLAKE_MIN_FREE_MB."
            )

    def _clear_leftovers(self, state: State, done: Up) -> None:
        dead = [n for n, r in state.processes.items() if r.process() is None]
        for name in dead:
            del state.processes[name]
        known = [r.pid for r in state.processes.values()]
        left = [p for p in process.leftovers(self.home.path, known) if p.ppid() not in known and not _is_us(p)]
        sockets.end_leftovers(left)
        done.repaired += dead + [f"leftover process {p.pid}" for p in left]

    def _choose_ports(self, state: State, missing: list[str]) -> None:
        fixed = {
            "s3": self._settings.s3_port,
            "broker": self._settings.broker_port,
            "cache": self._settings.redis_port,
        }
        wanted = [key for name in missing for key in (servers.STORE_PORTS if name == "store" else (name,))]
        for key in wanted:
            ports.settle(state.ports, key, fixed.get(key, 0))

    def _start(self, name: str, state: State) -> None:
        """Start a server; on other ports where somebody took one between its choice and the start."""
        for chances in (2, 1, 0):
            before = dict(state.ports)
            try:
                self._start_once(name, state)
                return
            except PlaylakeError:
                self._choose_ports(state, [name])  # those that come free again are kept: clients know them
                if not chances or state.ports == before:
                    raise

    def _start_once(self, name: str, state: State) -> None:
        launch = self._launch(name, state)
        log = self.home.log(name)
        child = process.start(name, launch.command, home=self.home.path, log=log, env=launch.env, stdin=launch.stdin)
        state.processes[name] = Recorded.of(name, child.pid)
        self.home.save(state)
        settings = with_addresses(self._settings, state, self.home.keys())
        port = state.ports[self.port_name(name)]

        def ready() -> bool:
            return ports.listens(port) and ports.held_by(port, child.pid) and probes.ready(name, settings, state)

        try:
            process.wait_ready(name, child, ready, log=log, timeout_s=_START_S[name])
        except BaseException:
            # Also on Ctrl-C: a server that never became ready is not to be left behind.
            self._stop(state, [name])
            self.home.save(state)
            raise
        if name == "store":
            from playlake.lake.store import Store  # a second of imports that only a start needs

            store = Store(settings)
            store.ensure_bucket(servers.KAFKA_LOG_BUCKET)
            store.ensure_bucket()

    def _launch(self, name: str, state: State) -> servers.Launch:
        keys = self.home.keys()
        data = self.home.data / name
        if name == "store":
            sockets.clear(state.ports)
            return servers.store(self.home.path, data, self.home.run, self.home.make_sockets(), state.ports, keys)
        if name == "broker":
            return servers.broker(state.ports["broker"], state.ports["s3"], keys)
        return servers.cache(self.home.run, state.ports["cache"], keys)

    def _stop(self, state: State, names: list[str]) -> None:
        for name in names:
            recorded = state.processes.get(name)
            running = recorded.process() if recorded else None
            if running:
                process.stop([running], timeout_s=_STOP_S.get(name, 10.0))
            if name == "store":
                sockets.clear(state.ports)
        for name in names:
            state.processes.pop(name, None)

    # -- processes that serve --------------------------------------------------------------------------------------

    def serve(self, name: str, command: Callable[[int], list[str]], *, ready_path: str) -> str:
        """Start a process that uses the servers (``api``, ``dashboard``), recorded beside them; returns its URL.

        :param command: gives the command line for a port.
        """
        with self.locked(), closing(ports.Claims(self._settings.host)) as claims:
            state = self.home.load()
            self._stop(state, [name])
            port = ports.settle(state.ports, name, *self.serving_port(name), free=claims.free)
            log = self.home.log(name)
            env = attach(self._settings).environment()
            child = process.start(name, command(port), home=self.home.path, log=log, env=env)
            state.processes[name] = Recorded.of(name, child.pid)
            self.home.save(state)
            url = f"http://{self._settings.host}:{port}"
            try:
                process.wait_ready(
                    name,
                    child,
                    lambda: ports.held_by(port, child.pid) and probes.http_ok(url + ready_path),
                    log=log,
                    timeout_s=60,
                )
            except BaseException:
                self._stop(state, [name])
                self.home.save(state)
                raise
            return url

    def serving_port(self, name: str) -> tuple[int, int]:
        """The port set for ``api`` or ``dashboard`` (0: none), and the one that is usual for it."""
        return (self._settings.api_port, 8000) if name == "api" else (self._settings.dashboard_port, 8501)

    def check_serving_ports(self, names: Iterable[str]) -> None:
        """See early that the ports set for ``api`` and ``dashboard`` can be had.

        :raises PlaylakeError: when one is taken by somebody else.
        """
        state = self.home.load()
        for name in names:
            fixed, _ = self.serving_port(name)
            if not state.alive(name):
                ports.settle({}, name, fixed)

    def claim(self) -> None:
        """Make this process the owner of the home, which stops at its end what it started.

        What the owner before started, if that is dead (killed), is then this one's to stop.

        :raises PlaylakeError: when another owner lives.
        """
        with self.locked():
            state = self.home.load()
            before = state.owner
            if before and before.pid != os.getpid() and before.process() is not None:
                raise PlaylakeError(
                    f"Another demo (process {before.pid}) runs on {self.home.path}."
                    " End it with Ctrl-C, or set PLAYLAKE_HOME to another folder."
                )
            state.owner = Recorded.of("demo", os.getpid())
            self.home.save(state)

    def own(self, names: list[str]) -> None:
        """Note what the owner is about to start, so that it is known even if the owner is killed."""
        with self.locked():
            state = self.home.load()
            state.owned += [n for n in names if n not in state.owned]
            self.home.save(state)

    def release(self) -> None:
        """Stop what the owner started, and give the ownership up."""
        with self.locked():
            state = self.home.load()
            for name in sorted(state.owned, key=lambda n: (n in SERVERS, n == "store")):
                self._stop(state, [name])
            if not any(state.alive(name) for name in SERVERS):
                shutil.rmtree(self.home.sockets, ignore_errors=True)
            state.owner, state.owned = None, []
            self.home.save(state)


def _is_us(other: psutil.Process) -> bool:
    """Whether a process is this one or an ancestor: a command run from a server's own shell must not end itself."""
    return other.pid in {p.pid for p in [psutil.Process(), *psutil.Process().parents()]}
