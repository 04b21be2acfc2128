"""A process of a measurement: how long it ran, how much processor it used, how its memory went."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]


@dataclass(slots=True)
class Ran:
    """A process that has ended well. Seconds, MiB; ``memory`` is (seconds since the start, PSS) every quarter second.

    ``said`` is the one JSON object that it left in the file named by ``BENCH_OUT``, ``out`` its standard output.
    """

    seconds: float
    cpu_s: float
    peak_rss: float
    peak_pss: float
    said: dict[str, Any]
    out: str
    memory: list[tuple[float, float]] = field(default_factory=list)


def pss_of(process: psutil.Process) -> float:
    """Memory of a process in MiB, what it shares with others counted in part."""
    return float(process.memory_full_info().pss) / 2**20


def run(command: list[str], env: Mapping[str, str], *, timeout: float = 3600) -> Ran:
    """Run a process to its end, looking at its memory meanwhile.

    :raises SystemExit: when it fails, with the end of what it said.
    """
    with tempfile.TemporaryDirectory() as folder:
        said, log = Path(folder) / "said.json", Path(folder) / "stderr"
        with log.open("wb") as errors:
            started = time.monotonic()
            process = subprocess.Popen(
                command,
                env={**os.environ, **env, "BENCH_OUT": str(said)},
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=ROOT,
            )
        memory: list[tuple[float, float]] = []
        done = threading.Event()
        watcher = threading.Thread(target=_watch, args=(process.pid, started, memory, done))
        watcher.start()
        alarm = threading.Timer(timeout, process.kill)
        alarm.start()
        assert process.stdout
        out = process.stdout.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stdout.close()
        alarm.cancel()
        done.set()
        watcher.join()
        if process.returncode:
            raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}\n{log.read_text()[-3000:]}")
        return Ran(
            seconds,
            usage.ru_utime + usage.ru_stime,
            usage.ru_maxrss / 1024,
            max((pss for _, pss in memory), default=0.0),
            json.loads(said.read_text()) if said.is_file() else {},
            out,
            memory,
        )


def _watch(pid: int, started: float, memory: list[tuple[float, float]], done: threading.Event) -> None:
    try:
        process = psutil.Process(pid)
        while not done.wait(0.25):
            memory.append((time.monotonic() - started, pss_of(process)))
    except psutil.Error:
        return  # it has ended


def say(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)
