"""The whole path in one command: up, produce, land, build, serve."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playlake import pipeline
from playlake.errors import PlaylakeError
from playlake.lake.watching import Landed
from playlake.lake.writer import Writer
from playlake.pipeline import Progress
from playlake.settings import Settings
from playlake.sources.exports import Receipt
from playlake.sources.simulator import Simulation, Simulator
from playlake.stack import EmbeddedStack, attach
from playlake.warehouse.build import Built


@dataclass(slots=True)
class Result:
    """What the demo did; :meth:`as_dict` is its ``--json``."""

    produced: int = 0
    built: Built | None = None
    landed: Landed | None = None
    receipt: Receipt | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    urls: dict[str, str] = field(default_factory=dict)
    sources: dict[str, int] = field(default_factory=dict)
    """Rows of plays in bronze by where they came from: a lake keeps what earlier runs brought."""

    def as_dict(self) -> dict[str, Any]:
        """One JSON object."""
        built = self.built or Built(version=0, bronze=0)
        return {
            "produced": self.produced,
            "bronze": built.bronze,
            "silver": sum(built.silver.get(f"silver_{kind}", 0) for kind in ("plays", "skips", "likes")),
            "silver_by_model": built.silver,
            "gold": built.gold,
            "dead_letters": built.dead_letters,
            "seconds": {stage: round(s, 2) for stage, s in self.seconds.items()},
            "urls": self.urls,
            "receipt": self.receipt.as_dict() if self.receipt else None,
            "sources": self.sources,
        }


class Demo:
    """One run of the path on the embedded stack, which stops at its end what it started and nothing else.

    :param history: paths of an export, or none for the simulator.
    """

    def __init__(self, settings: Settings, *, history: list[Path], user_id: str, simulation: Simulation) -> None:
        self._settings = settings
        self._history = history
        self._user_id = user_id
        self._simulation = simulation
        self._stack = EmbeddedStack(settings)
        self.result = Result()

    @contextmanager
    def running(self, say: Progress) -> Iterator[Result]:
        """Run all stages; what was started stays up inside the ``with`` block."""
        self._stack.claim()
        try:
            self._run(say)
            yield self.result
        finally:
            say("stopping what this demo started")
            self._stack.release()

    def _run(self, say: Progress) -> None:
        with self._stage("up", say):
            self._stack.check_serving_ports(pipeline.COMMANDS)
            self._stack.own([row["name"] for row in self._stack.status() if row["state"] != "running"])
            self._stack.up(on_progress=say)
        settings = attach(self._settings)
        with self._stage("produce", say):
            self._produce(settings, say)
        with self._stage("land", say):
            writer = Writer(settings, on_progress=lambda landed: say(f"{landed.total:,} rows landed"))
            self.result.landed = writer.run(until_idle=True)
        with self._stage("build", say):
            self.result.built = pipeline.build_warehouse(settings, say=say)
            self.result.sources = pipeline.plays_by_source(settings)
        with self._stage("serve", say):
            for name, command in pipeline.COMMANDS.items():
                say(f"starting the {name}")
                self._stack.own([name])
                self.result.urls[name] = self._stack.serve(
                    name,
                    lambda port, command=command: command(settings, port),  # type: ignore[misc]
                    ready_path=pipeline.READY[name],
                )

    def _produce(self, settings: Settings, say: Progress) -> None:
        if not self._history:
            sent = pipeline.produce_simulation(settings, Simulator(self._simulation), say=say)
            self.result.produced = sum(sent.values())
            return
        receipt = pipeline.produce_history(settings, self._history, self._user_id, say=say)
        self.result.receipt = receipt
        self.result.produced = receipt.produced
        if not receipt.produced + receipt.same:
            raise PlaylakeError(" ".join(receipt.problems()))

    @contextmanager
    def _stage(self, name: str, say: Progress) -> Iterator[None]:
        say(name)
        started = time.monotonic()
        yield
        self.result.seconds[name] = time.monotonic() - started


def mixture(sources: dict[str, int]) -> str | None:
    """What is to be said of a lake that holds simulated plays beside real ones."""
    simulated = sources.get("simulator", 0)
    real = sum(sources.values()) - simulated
    if not simulated or not real:
        return None
    return (
        f"This lake holds {simulated:,} simulated plays beside {real:,} real ones, and the pages show both."
        " To see your own alone, give them a home of their own: PLAYLAKE_HOME=.playlake-mine make demo HISTORY=…"
    )
