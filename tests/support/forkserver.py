"""A process that has imported all of playlake once and forks one for each command asked of it.

The tests run a thousand commands, and most of what a short one costs is importing. What is forked is the command
itself, with arguments, environment, working folder and outputs of its own. No command has run in the process that
forks, and the threads that libraries start while they are imported are made to be forked.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import importlib
import json
import os
import pkgutil
import signal
import sys
import time
from typing import Any

import playlake
from playlake.cli import main  # before the module of that name is loaded

_ALONE = ("playlake.__main__", "playlake.warehouse.dbt_child", "playlake.warehouse.dbt_plugin")
"""Not of the command: the first would run it, the second is dbt's."""


def land_in(group: str) -> None:
    """`playlake land` as a member of another consumer group, which no option says."""
    from playlake.lake.writer import Writer

    defaults = Writer.__init__.__kwdefaults__
    assert defaults
    defaults["group"] = group


def _import_all() -> None:
    sys.modules["duckdb"] = None  # type: ignore[assignment] # forked, it aborts when it ends; loading it is short
    for module in pkgutil.walk_packages(playlake.__path__, "playlake.", onerror=lambda _: None):
        with contextlib.suppress(ImportError):
            if module.name not in _ALONE:
                importlib.import_module(module.name)
    del sys.modules["duckdb"]


def serve() -> None:
    """Answer one request a line: ``start`` a command, ``poll`` or ``signal`` a child; ends with its standard input."""
    _import_all()
    gc.freeze()
    # By number and not by process id, which comes again.
    running: dict[int, int] = {}
    ended: dict[int, int] = {}
    for line in iter(sys.stdin.readline, ""):
        asked = json.loads(line)
        number = asked["asked"]
        answer: Any = None
        if asked["do"] == "start":
            running[number] = _forked(asked)
            answer = number, running[number]
        else:
            child = asked["child"]
            if child in running:
                done, status = os.waitpid(running[child], os.WNOHANG)
                if done:
                    del running[child]
                    ended[child] = os.waitstatus_to_exitcode(status)
                elif asked["do"] == "signal":
                    os.kill(running[child], asked["number"])
            answer = ended.get(child)
        sys.stdout.write(json.dumps([number, answer]) + "\n")
        sys.stdout.flush()
    for pid in running.values():
        os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def _forked(asked: dict[str, Any]) -> int:
    pid = os.fork()
    if pid == 0:
        _become(asked)
    return pid


def _become(asked: dict[str, Any]) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    out = _opened(asked["out"])
    err = out if asked["err"] == asked["out"] else _opened(asked["err"])
    for source, target in ((nothing, 0), (out, 1), (err, 2)):
        os.dup2(source, target)
    faulthandler.enable()  # SIGABRT tells where each thread is
    os.environ.clear()
    os.environ.update(asked["env"])
    time.tzset()
    os.chdir(asked["cwd"])
    if group := asked["group"]:
        land_in(group)
    sys.argv = ["playlake", *asked["arguments"]]
    main()
    sys.exit()


def _opened(name: str) -> int:
    return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)


if __name__ == "__main__":
    serve()
