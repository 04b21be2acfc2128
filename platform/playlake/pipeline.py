"""The stages of the path, each as one call, shared by the command line and the demo."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from playlake import events
from playlake.broker import Admin, Producer
from playlake.errors import UsageError
from playlake.lake import tables
from playlake.lake.news import same_rows
from playlake.settings import ROOT, Settings
from playlake.sources.exports import Receipt, ReceiptBook, import_history, inbox
from playlake.sources.simulator import Simulator
from playlake.warehouse import bronze
from playlake.warehouse.build import Built, begin, build, has_news, run_stage
from playlake.warehouse.stages import Begun

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
            if rate is None and sent[topic] % 1000 == 0 and stopped():
                break
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


def produce_history(
    settings: Settings,
    paths: list[Path],
    user_id: str,
    *,
    book: Callable[[Receipt], ReceiptBook] | None = None,
    say: Progress = quiet,
) -> Receipt:
    """Import an export into Kafka; what the lake already has of it is not sent again.

    :param book: where the receipt goes; the home's ``receipts`` unless told otherwise.
    """

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
        book=book or (lambda receipt: ReceiptBook.in_folder(receipt, settings.home_path / "receipts")),
        on_progress=lambda r: say(f"{r.read:,} rows read, {r.produced:,} produced"),
    )


def build_warehouse(settings: Settings, *, full: bool = False, say: Progress = quiet) -> Built:
    """Build and publish the warehouse from the lake as it is now; ``full``: all of it anew."""
    say("looking at the lake")
    versions, mark = tables.look(settings)
    rows = bronze.counts(settings, versions)
    built = build(settings, versions, live=tables.live_files(settings), mark=mark, full=full, on_progress=say)
    return _with_bronze(built, rows)


def begin_build(settings: Settings, *, say: Progress = quiet) -> Begun | None:
    """Begin a build in stages, of the lake as it is now; None where it has not changed since the last one."""
    versions = tables.snapshot(settings)
    if not has_news(settings, versions, same_rows(settings)):
        return None
    return begin(settings, versions, live=tables.live_files(settings), on_progress=say)


def run_build_stage(settings: Settings, build_id: str, stage: str, *, say: Progress = quiet) -> Begun | Built:
    """Run a stage of a build; what was built, of the last one."""
    done = run_stage(settings, build_id, stage, on_progress=say)
    return _with_bronze(done, bronze.counts(settings, done.versions)) if isinstance(done, Built) else done


def _with_bronze(built: Built, rows: dict[str, int]) -> Built:
    built.dead_letters = rows[tables.DEAD_LETTERS_FOLDER]
    built.bronze = sum(rows[tables.FOLDERS[topic]] for topic in events.TOPICS)
    return built


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of one file or folder of the inbox; ``error`` where nothing of it could be imported."""

    name: str
    read: int = 0
    produced: int = 0
    same: int = 0
    refused: int = 0
    damaged: int = 0
    error: str | None = None
    overlaps: Sequence[str] = ()
    """See :attr:`~playlake.sources.exports.Receipt.overlaps`."""


def import_inbox(settings: Settings, *, say: Progress = quiet) -> Iterator[Imported]:
    """Import what is new in the inbox, one after the other; the receipt of each file or folder goes beside it.

    What is no history, or damaged, gets a receipt that says so, and its neighbours are imported all the same.

    :raises UnavailableError: when broker or store are away; what is left then is imported the next time.
    """
    for dropped in inbox.new_in(settings.inbox):
        say(f"importing {dropped.path.name}")

        def book(receipt: Receipt, dropped: inbox.Dropped = dropped) -> ReceiptBook:
            receipt.fingerprint = dropped.fingerprint
            return ReceiptBook(receipt, dropped.receipt, dropped.refused)

        try:
            made = produce_history(settings, [dropped.path], settings.listener, book=book, say=say)
        except UsageError as error:
            dropped.refuse(str(error))
            yield Imported(dropped.path.name, error=str(error))
        else:
            counts = (made.read, made.produced, made.same, made.refused, len(made.damaged))
            nothing = None if made.produced or made.same else " ".join(made.problems())
            yield Imported(dropped.path.name, *counts, error=nothing, overlaps=made.overlaps)


def build_if_changed(settings: Settings, *, say: Progress = quiet) -> Built | None:
    """Build and publish if the lake has changed since the last build; None where it has not."""
    news = has_news(settings, tables.snapshot(settings), same_rows(settings))
    return build_warehouse(settings, say=say) if news else None


def plays_by_source(settings: Settings) -> dict[str, int]:
    """Rows of plays in the lake by where they came from (``simulator``, ``export_account``, …)."""
    return bronze.by_source(settings, tables.FOLDERS[events.PLAYS])


def has_plays(settings: Settings) -> bool:
    """Whether the lake holds any play."""
    path = tables.FOLDERS[events.PLAYS]
    return bronze.counts(settings, {path: tables.snapshot(settings)[path]})[path] > 0


def api_command(settings: Settings, port: int) -> list[str]:
    """How to run the API."""
    return [
        *(sys.executable, "-P", "-m", "playlake.served", "uvicorn"),
        *("app.api.main:create", "--factory", "--app-dir", str(ROOT)),
        *("--host", settings.host, "--port", str(port), "--log-level", "warning"),
    ]


def dashboard_command(settings: Settings, port: int) -> list[str]:
    """How to run the dashboard: no usage statistics, no browser opened, no file watcher."""
    return [
        *(sys.executable, "-P", "-m", "playlake.served", "streamlit", "run"),
        str(ROOT / "app" / "dashboard" / "server.py"),
        *("--server.address", settings.host, "--server.port", str(port), "--server.headless", "true"),
        *("--browser.gatherUsageStats", "false", "--server.fileWatcherType", "none"),
        *("--client.toolbarMode", "minimal"),
    ]


READY = {"api": "/health", "dashboard": "/_stcore/health"}
COMMANDS = {"api": api_command, "dashboard": dashboard_command}
