"""The servers for chaos: the embedded stack, or its store with Apache Kafka in a container.

Between them and the writers stands a proxy each. The home is a small file system of its own, so that its disk can be
made full; that takes the right to mount, and without it nothing fills the disk.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import docker

from playlake import events
from playlake.broker import Admin
from playlake.settings import Settings
from playlake.stack.servers import write_private
from playlake.stack.state import Home
from tests.faults.chaos.clock import WallClock
from tests.support.commands import ProcessCli
from tests.support.containers import image
from tests.support.lakes import addressed
from tests.support.s3_proxy import S3Proxy
from tests.support.scraping import free_port
from tests.support.tcp import LOOPBACK, TcpProxy
from tests.support.waiting import wait_for

ADVERTISE = Path(__file__).with_name("advertise.py")
_ROOM = "8g"
_STARTED = b"Started Kafka API server"
_CHOSEN = {f"PLAYLAKE_{n}" for n in ("KAFKA_BOOTSTRAP", "S3_ENDPOINT", "S3_ACCESS_KEY", "S3_SECRET_KEY", "REDIS_URL")}
"""What the embedded stack chooses itself."""


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def _only_files(folder: str, names: list[str]) -> list[str]:
    """Sockets can't be copied."""
    return [name for name in names if not ((path := Path(folder) / name).is_file() or path.is_dir())]


class Stack:
    """The embedded stack, all of whose clients go through the proxies.

    :param folder: an empty one.
    """

    name = "embedded"
    frozen_s = 35.0
    """How long a writer is frozen: longer than the group takes to give its partitions to another. Its session ends
    after 6 s; Tansu then took up to 31 (docs/adr/0015)."""
    idempotent = False
    """Tansu can lose what it has acknowledged to an idempotent producer (docs of the project's design)."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self._room = folder / "disk"
        self._seed = seed
        self._ended = ExitStack()
        self._homes: dict[Path, dict[str, int]] = {}
        self.broker_port = free_port()
        self.clock = WallClock(folder)
        """The wall clock of all processes of :meth:`start`."""

    def __enter__(self) -> Self:
        try:
            self._begin()
        except BaseException:
            self._ended.close()
            raise
        return self

    def _begin(self) -> None:
        self._room.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={_ROOM}", "tmpfs", str(self._room)]
        self.can_fill_disk = not subprocess.run(mount, capture_output=True, check=False).returncode
        if self.can_fill_disk:
            self._ended.callback(subprocess.run, ["umount", "-l", str(self._room)], check=True)
        else:
            print("chaos: a small disk can't be mounted here (that takes root): none is made full", file=sys.stderr)
        self.cli = ProcessCli(self._room / "home", broker_port=self.broker_port)
        self._ended.callback(self.cli, "down")
        self.broker = self._ended.enter_context(self._proxied_broker())
        self.up()
        found = self.cli.settings()
        self.store = self._ended.enter_context(S3Proxy(found.s3_endpoint, seed=self._seed))
        self.direct = self._settings("direct", found, found.s3_endpoint)
        """Settings of one who is spared the faults of the store."""
        self.through = self._settings("through", found, self.store.url)
        """Settings of one who is not."""
        with Admin(self.direct) as admin:
            admin.ensure(events.TOPICS)

    def _proxied_broker(self) -> TcpProxy:
        return TcpProxy((LOOPBACK, self.broker_port))

    def __exit__(self, *_: object) -> None:
        self._ended.close()

    def _settings(self, name: str, found: Settings, s3_endpoint: str) -> Settings:
        """The profile stays `embedded`, by which playlake knows its broker. In that profile a command takes the
        addresses from its home: each of these has one, with the proxies' ports (:meth:`_point`).
        """
        self._homes[self._room / name] = {"broker": _port(self.broker.address), "s3": _port(s3_endpoint)}
        self._point()
        update = {"kafka_bootstrap": self.broker.address, "s3_endpoint": s3_endpoint, "home": self._room / name}
        return found.model_copy(update=update)

    def _point(self) -> None:
        """Write the servers that run now, with the proxies' ports, into those homes."""
        real = Home(self.cli.home)
        for path, ports in self._homes.items():
            home, state = Home(path), real.load()
            home.prepare()
            write_private(home.run / "secrets.json", json.dumps(real.keys()))
            state.ports |= ports
            home.save(state)

    def _environment(self, settings: Settings) -> dict[str, str]:
        given = settings.environment()
        chosen = _CHOSEN if settings.profile == "embedded" else set()
        return self.cli.env | {name: value for name, value in given.items() if name not in chosen}

    def start(self, log: Path, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
        """Start a command of playlake that goes through the proxies, by the clock that jumps; its output is a file."""
        given = {**self._environment(self.through), **self.clock.env, "PYTHONFAULTHANDLER": "1", **variables}
        command = [sys.executable, "-m", "playlake", *arguments]
        with log.open("wb") as out:
            return subprocess.Popen(
                command, env=given, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
            )

    def run(self, *arguments: str) -> Any:
        """A command of playlake that is spared the faults, to its end; its one object."""
        command = ProcessCli(self.cli.home)
        command.env = self._environment(self.direct)
        return command.json(*arguments, check=None)

    def keep(self) -> None:
        """Save the home's data and logs of a run that has failed: its disk is memory, and goes with the stack."""
        shutil.copytree(self._room / "home", self.folder / "home", ignore=_only_files, dirs_exist_ok=True)

    def up(self) -> None:
        """`playlake up`: start what does not run."""
        command = [sys.executable, str(ADVERTISE), self.broker.address, "--json"]
        done = subprocess.run(
            command, env=self.cli.env, cwd=self.folder, capture_output=True, text=True, timeout=200, check=False
        )
        if done.returncode:
            raise RuntimeError(f"`playlake up` failed: {done.stdout[-500:]} {done.stderr[-2000:]}")
        self._point()

    def kill_broker(self) -> None:
        """kill -9."""
        self.cli.kill("broker")

    def kill_store(self) -> None:
        """kill -9. What needs it is restarted by :meth:`up`."""
        self.cli.kill("store")

    def fill_disk(self) -> None:
        """Leave no room on the home's file system."""
        self._resize(f"{shutil.disk_usage(self._room).used // 1024 + 64}k")

    def free_disk(self) -> None:
        """Give the room back."""
        self._resize(_ROOM)

    def _resize(self, size: str) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", str(self._room)], check=True)


class Kafka(Stack):
    """The same store, with Apache Kafka in a container (the image that the compose file names, or its stand-in)."""

    name = "kafka"
    frozen_s = 12.0
    idempotent = True

    def _proxied_broker(self) -> TcpProxy:
        port = free_port()
        proxy = TcpProxy((LOOPBACK, port))
        client = docker.from_env()
        self._ended.callback(client.close)
        self._container = client.containers.run(
            image("BROKER_IMAGE"),
            [
                *("redpanda", "start", "--smp=1", "--memory=1G", "--overprovisioned"),
                "--kafka-addr=internal://0.0.0.0:29092,external://0.0.0.0:9092",
                f"--advertise-kafka-addr=internal://127.0.0.1:29092,external://{proxy.address}",
            ],
            ports={"9092/tcp": (LOOPBACK, port)},
            detach=True,
        )
        self._ended.callback(self._container.remove, force=True, v=True)
        self._wait_started(1)
        return proxy

    def _settings(self, name: str, found: Settings, s3_endpoint: str) -> Settings:
        return addressed(found, kafka_bootstrap=self.broker.address, s3_endpoint=s3_endpoint)

    def _wait_started(self, times: int) -> None:
        wait_for(lambda: self._container.logs().count(_STARTED) >= times, 120, 0.3)

    def up(self) -> None:
        """The store and what `playlake up` starts beside it (a broker that nobody uses), and the container."""
        self.cli.json("up")
        self._container.reload()
        if self._container.status != "running":
            times = self._container.logs().count(_STARTED)
            self._container.start()
            self._wait_started(times + 1)

    def kill_broker(self) -> None:
        """kill -9."""
        self._container.kill("SIGKILL")


STACKS: dict[str, type[Stack]] = {one.name: one for one in (Stack, Kafka)}
