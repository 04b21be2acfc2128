"""What is remembered of an embedded stack: ports, processes, keys. One folder, ``<home>/run``."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import stat
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playlake.errors import PlaylakeError
from playlake.stack.process import Recorded
from playlake.stack.servers import write_private


@dataclass(slots=True)
class State:
    """The state file's content. ``owner`` is a demo, and ``owned`` names what it started and will stop."""

    ports: dict[str, int] = field(default_factory=dict)
    processes: dict[str, Recorded] = field(default_factory=dict)
    owner: Recorded | None = None
    owned: list[str] = field(default_factory=list)

    def alive(self, name: str) -> bool:
        """Whether a process of that name runs."""
        recorded = self.processes.get(name)
        return recorded is not None and recorded.process() is not None


@dataclass(frozen=True, slots=True)
class Home:
    """The folders of one playlake home."""

    path: Path

    @property
    def run(self) -> Path:
        """State, keys and configuration of the servers."""
        return self.path / "run"

    @property
    def logs(self) -> Path:
        """One file a server."""
        return self.path / "logs"

    @property
    def data(self) -> Path:
        """The servers' data."""
        return self.path / "data"

    def prepare(self) -> None:
        """Make the folders, for their owner only: keys and somebody's listening are in them."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in (self.run, self.logs, self.data):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o700)

    def log(self, name: str) -> Path:
        """The log file of a server."""
        return self.logs / f"{name}.log"

    def load(self) -> State:
        """The state; an unreadable file (a full disk, a power cut) is as good as none: processes carry a mark."""
        try:
            data: dict[str, Any] = json.loads((self.run / "stack.json").read_text())
            return State(
                ports={str(k): int(v) for k, v in data["ports"].items()},
                processes={n: Recorded.load(r) for n, r in data["processes"].items()},
                owner=Recorded.load(data["owner"]) if data.get("owner") else None,
                owned=[str(name) for name in data.get("owned", [])],
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return State()

    def save(self, state: State) -> None:
        """Write the state in one step."""
        text = json.dumps(
            {
                "ports": state.ports,
                "processes": {n: r.dump() for n, r in state.processes.items()},
                "owner": state.owner.dump() if state.owner else None,
                "owned": state.owned,
            },
            indent=1,
        )
        new = self.run / f"stack.json.{os.getpid()}"
        new.write_text(text)
        new.replace(self.run / "stack.json")

    def keys(self) -> dict[str, str]:
        """The embedded servers' keys, random, made once, readable by their owner only."""
        path = self.run / "secrets.json"
        try:
            return {str(k): str(v) for k, v in json.loads(path.read_text()).items()}
        except (OSError, ValueError):
            made = {
                "s3_access_key": "playlake" + secrets.token_hex(6),
                "s3_secret_key": secrets.token_urlsafe(30),
                "redis_password": secrets.token_urlsafe(24),
            }
            write_private(path, json.dumps(made))
            return made

    @property
    def sockets(self) -> Path:
        """Where the Unix sockets are: a socket's path may hold 107 bytes at the most, and a home's can be longer.

        Named after the home, so that it is found again also when the state was lost.
        """
        name = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"playlake-{os.getuid()}-{name}"

    def make_sockets(self) -> Path:
        """Make that folder, for its owner only.

        :raises PlaylakeError: when somebody else has made it.
        """
        self.sockets.mkdir(mode=0o700, exist_ok=True)
        found = self.sockets.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise PlaylakeError(
                f"{self.sockets} is not a private folder of yours. Remove it, or set TMPDIR to another folder."
            )
        return self.sockets
