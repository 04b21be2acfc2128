"""The command playlake with what no option of it says: `up ADDRESS …` with a broker behind a proxy, and :func:`serve`.

Chaos starts a process every few seconds, and most of a start is importing. :func:`serve` imports once and then forks
a process for each command. It has no threads and no connections, so a fork is as good as a new process.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import importlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

_USED = ("cli", "broker", "heartbeat", "lake.compact", "lake.metrics", "lake.store", "lake.tables", "lake.writer")


def up(address: str) -> None:
    """`playlake up` with a broker that tells its clients to come to ``address``, where a proxy is."""
    from playlake.stack import servers

    launch = servers.broker

    def advertised(port: int, s3_port: int, keys: Mapping[str, str]) -> servers.Launch:
        made = launch(port, s3_port, keys)
        made.command[made.command.index("--advertised-listener-url") + 1] = f"tcp://{address}"
        return made

    servers.broker = advertised


def land_in(group: str) -> None:
    """`playlake land` as a member of another consumer group."""
    from playlake.lake.writer import Writer

    defaults = Writer.__init__.__kwdefaults__
    assert defaults
    defaults["group"] = group


def run(arguments: list[str]) -> None:
    """The command itself, which ends by SystemExit."""
    sys.argv = ["playlake", *arguments]
    from playlake.cli import main

    main()


def serve() -> None:
    """Answer one request a line: ``start`` a command, ``poll`` or ``signal`` a child; ends with its standard input."""
    for part in _USED:
        importlib.import_module(f"playlake.{part}")
    gc.freeze()
    ended: dict[int, int] = {}
    running: set[int] = set()
    for line in iter(sys.stdin.readline, ""):
        asked = json.loads(line)
        answer: Any = None
        if asked["do"] == "start":
            answer = _forked(asked)
            running.add(answer)
        else:
            pid = asked["pid"]
            if pid in running:
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    running.discard(pid)
                    ended[pid] = os.waitstatus_to_exitcode(status)
                elif asked["do"] == "signal":
                    os.kill(pid, asked["number"])
            answer = ended.get(pid)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    for pid in running:
        os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def _forked(asked: dict[str, Any]) -> int:
    pid = os.fork()
    if pid == 0:
        _become(asked)
    return pid


def _become(asked: dict[str, Any]) -> None:
    out = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (out, 1), (out, 2)):
        os.dup2(source, target)
    faulthandler.enable()  # SIGABRT tells where each thread is
    os.environ.clear()
    os.environ.update(asked["env"])
    if group := asked["group"]:
        land_in(group)
    run(asked["arguments"])


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        up(sys.argv[2])
        run(["up", *sys.argv[3:]])
