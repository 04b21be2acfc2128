"""The stages of the path, each as one call, shared by the command line and the demo."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from playlake import events
from playlake.broker import Admin, Producer
from playlake.lake import tables
from playlake.settings import ROOT, Settings
from playlake.sources.exports import Receipt, import_history
from playlake.sources.simulator import Simulator
from playlake.warehouse import bronze
from playlake.warehouse.build import Built, build

Progress = Callable[[str], None]


def quiet(_text: str) -> None:
    """Progress that nobody watches."""


_FEED_OUTAGE_S = 600.0
"""How long a broker may be away before a feed gives up, in seconds."""


def produce_simulation(
    settings: Settings,
    simulator: Simulator,
    *,
    rate: float | None = None,
    for_s: float | None = None,
    stopped: Callable[[], bool] = lambda: False,
    say: Progress = quiet,
) -> dict[str, int]:
    """Send simulated events to Kafka: all at once, or ``rate`` a second until ``stopped()`` or for ``for_s`` seconds.

    :returns: acknowledged events by topic.
    """
    with Admin(settings) as admin:
        admin.ensure(events.TOPICS)
    sent = dict.fromkeys((events.PLAYS, events.SKIPS, events.LIKES), 0)
    source = simulator.live() if rate else simulator.events()
    with Producer(settings, outage_s=_FEED_OUTAGE_S if rate else 30.0) as producer:
        say("sending")
        for topic, event in _paced(source, rate, for_s, stopped):
            producer.send(topic, event.user_id, events.encode(event))
            sent[topic] += 1
            if producer.sent % 1000 == 0:
                say(f"{producer.sent:,} events sent")
        if stopped():
            say(f"stopping after {producer.sent:,} events")
    return sent


def _paced(
    source: Iterator[tuple[str, events.Event]], rate: float | None, for_s: float | None, stopped: Callable[[], bool]
) -> Iterator[tuple[str, events.Event]]:
    if rate is None:
        yield from source
        return
    started = time.monotonic()
    for number in itertools.count():
        while not stopped() and (wait := started + number / rate - time.monotonic()) > 0:
            time.sleep(min(wait, 0.2))
        if stopped():
            return
        if for_s is not None and time.monotonic() - started >= for_s:
            return
        yield next(source)  # drawn only now: a live event is time-stamped when it is sent


def produce_history(settings: Settings, paths: list[Path], user_id: str, *, say: Progress = quiet) -> Receipt:
    """Import an export into Kafka; what the lake already has of it is not sent again."""

    def connect() -> Producer:
        with Admin(settings) as admin:
            admin.ensure(events.TOPICS)
        return Producer(settings)

    def known(source: str) -> frozenset[bytes]:
        say("looking up what the lake has")
        tables.bronze(settings, events.PLAYS).open()
        return bronze.known_events(settings, tables.FOLDERS[events.PLAYS], user_id, source)

    return import_history(
        paths,
        user_id=user_id,
        sink=connect,
        known=known,
        receipts=settings.home_path / "receipts",
        on_progress=lambda r: say(f"{r.read:,} rows read, {r.produced:,} produced"),
    )


def build_warehouse(settings: Settings, *, say: Progress = quiet) -> Built:
    """Build and publish the warehouse from the lake as it is now."""
    say("looking at the lake")
    versions = tables.snapshot(settings)
    rows = bronze.counts(settings, versions)
    built = build(settings, versions, on_progress=say)
    built.dead_letters = rows[tables.DEAD_LETTERS_FOLDER]
    built.bronze = sum(rows[tables.FOLDERS[topic]] for topic in events.TOPICS)
    return built


def api_command(settings: Settings, port: int) -> list[str]:
    """How to run the API."""
    return [
        *(sys.executable, "-m", "uvicorn", "app.api.main:create", "--factory", "--app-dir", str(ROOT)),
        *("--host", settings.host, "--port", str(port), "--log-level", "warning"),
    ]


def dashboard_command(settings: Settings, port: int) -> list[str]:
    """How to run the dashboard: no usage statistics, no browser opened, no file watcher."""
    return [
        *(sys.executable, "-m", "streamlit", "run", str(ROOT / "app" / "dashboard" / "server.py")),
        *("--server.address", settings.host, "--server.port", str(port), "--server.headless", "true"),
        *("--browser.gatherUsageStats", "false", "--server.fileWatcherType", "none"),
        *("--client.toolbarMode", "minimal"),
    ]


READY = {"api": "/health", "dashboard": "/_stcore/health"}
COMMANDS = {"api": api_command, "dashboard": dashboard_command}
