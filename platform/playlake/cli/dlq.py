"""Commands on dead letters: dlq list, show, replay."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from playlake.cli.common import Json, length, load, out, plain, progress, show, table
from playlake.errors import UsageError

if TYPE_CHECKING:
    from playlake.lake.dead import Content, DeadLetters, Letter
    from playlake.settings import Settings

dlq_app = typer.Typer(help="Look at dead letters, and send again what can be an event.", no_args_is_help=True)

Topic = Annotated[str | None, typer.Option("--topic", help="Only those of this topic.")]
Reason = Annotated[str | None, typer.Option("--reason", help="Only those whose reason has this text in it.")]

_SHOWN = 64 * 1024
"""Bytes of a message that are shown; --raw gives all."""


@contextmanager
def _letters(settings: Settings) -> Iterator[DeadLetters]:
    from playlake.lake.dead import DeadLetters
    from playlake.warehouse import duck

    with duck.connect(settings) as connection, duck.reading("dead letters"):
        yield DeadLetters(settings, connection)


@dlq_app.command("list")
def dlq_list(
    topic: Topic = None,
    reason: Reason = None,
    since: Annotated[
        float | None, length("Only messages that were produced so long ago or later (30m, 24h).", "--since")
    ] = None,
    limit: Annotated[int, typer.Option(help="How many single ones are listed, the latest first.", min=0)] = 20,
    json: Json = False,
) -> None:
    """Which messages could not be events, and why."""
    from playlake.lake.dead import Wanted, known_topic

    settings = load()
    wanted = Wanted(
        known_topic(topic) if topic else None,
        reason,
        datetime.now(UTC) - timedelta(seconds=since) if since is not None else None,
    )
    with progress() as say:
        say("reading dead letters")
        with _letters(settings) as letters:
            groups, latest = letters.groups(wanted), letters.latest(wanted, limit)
    total, replayed = sum(g.count for g in groups), sum(g.replayed for g in groups)
    data = {
        "total": total,
        "replayed": replayed,
        "groups": [
            {
                "topic": g.topic,
                "reason": g.reason,
                "count": g.count,
                "replayed": g.replayed,
                "first": g.first.isoformat(),
                "last": g.last.isoformat(),
            }
            for g in groups
        ],
        "messages": [_as_dict(letter) for letter in latest],
    }
    rows = [(g.topic, g.reason, g.count, g.replayed, _short(g.first), _short(g.last)) for g in groups]
    text = table("topic", "reason", "dead", "replayed", "first (UTC)", "last (UTC)", rows=rows)
    narrowed = topic or reason or since is not None
    show(json, data, text if total else "No dead letters match." if narrowed else "No dead letters.")
    if json or not total:
        return
    if latest:
        singles = [(str(m.place), _short(m.at), "yes" if m.replayed_at else "", m.reason) for m in latest]
        out.print(table("message", "time (UTC)", "replayed", "reason", rows=singles))
    out.print(
        f"{total:,} dead letter{'' if total == 1 else 's'}, {replayed:,} of them replayed; the latest"
        f" {len(latest):,} listed. `playlake dlq show` gives the bytes of one."
    )


@dlq_app.command("show")
def dlq_show(
    place: Annotated[str, typer.Argument(metavar="TOPIC/PARTITION/OFFSET", help="Where the message was in Kafka.")],
    raw: Annotated[
        bool, typer.Option("--raw", help="The message's bytes on standard output, and nothing else.")
    ] = False,
    json: Json = False,
) -> None:
    """One dead letter: why it is one, and what it holds."""
    from playlake.lake.dead import Place

    if raw and json:
        raise UsageError("--raw and --json exclude each other: the one gives bytes, the other an object with them.")
    wanted = Place.parse(place)
    settings = load()
    with _letters(settings) as letters:
        found = letters.content(wanted)
    if raw:
        sys.stdout.buffer.write(found.value or b"")
        sys.stdout.buffer.flush()
        return
    data = {
        **_as_dict(found.letter),
        "topic_id": found.letter.topic_id,
        "key": _text(found.key),
        "key_hex": None if found.key is None else found.key.hex(),
        "bytes": None if found.value is None else len(found.value),
        "text": _text(found.value),
        "hex": None if found.value is None else found.value.hex(),
    }
    show(json, data, _facts(found))
    if not json:
        # Past the console, which would break lines.
        sys.stdout.write(_body(found.value) + "\n")


def _facts(found: Content) -> Any:
    letter = found.letter
    rows = [
        ("message", str(letter.place)),
        ("time", letter.at.isoformat()),
        ("reason", letter.reason),
        ("key", "none" if found.key is None else _printable(found.key) or found.key.hex(" ")),
        ("bytes", "none: the message has no value" if found.value is None else f"{len(found.value):,}"),
        ("replayed", letter.replayed_at.isoformat() if letter.replayed_at else "no"),
    ]
    return "\n".join(f"{name:<9} {plain(value)}" for name, value in rows)


def _text(data: bytes | None) -> str | None:
    try:
        return None if data is None else data.decode()
    except UnicodeDecodeError:
        return None


def _printable(data: bytes) -> str | None:
    """The text, if it is UTF-8 and can't do anything to a terminal."""
    text = _text(data)
    return text if text is not None and all(c.isprintable() or c in "\n\t\r" for c in text) else None


def _body(value: bytes | None) -> str:
    if value is None:
        return ""
    start = value[:_SHOWN]
    if len(value) > _SHOWN:  # the cut may go through a character
        start = start.decode(errors="ignore").encode() if _text(value) is not None else start
    shown = _printable(start)
    text = hexdump(start) if shown is None else shown
    left = len(value) - len(start)
    return text + (f"\n… and {left:,} bytes more; --raw gives all" if left else "")


def hexdump(data: bytes) -> str:
    """Offset, bytes and ASCII, sixteen to a line."""
    lines = []
    for at in range(0, len(data), 16):
        part = data[at : at + 16]
        ascii_ = "".join(chr(b) if 32 <= b < 127 else "." for b in part)
        lines.append(f"{at:08x}  {part.hex(' '):<47}  {ascii_}")
    return "\n".join(lines)


@dlq_app.command("replay")
def dlq_replay(
    places: Annotated[
        list[str] | None, typer.Argument(metavar="[TOPIC/PARTITION/OFFSET]…", help="These; all if none is named.")
    ] = None,
    topic: Topic = None,
    reason: Reason = None,
    again: Annotated[bool, typer.Option("--again", help="Also those that were replayed before.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be sent.")] = False,
    json: Json = False,
) -> None:
    """Send dead letters again, as they were, to their topics: those that today's rules accept."""
    from playlake.lake.dead import Place, Wanted, known_topic
    from playlake.lake.replay import replay

    wanted = Wanted(
        known_topic(topic) if topic else None, reason, places=tuple(Place.parse(text) for text in places or ())
    )
    settings = load()
    signals: list[int] = []

    def stop(number: int, _frame: object) -> None:
        # What is sent is to be noted first. The second time it ends at once.
        signals.append(number)
        if len(signals) > 1:
            raise KeyboardInterrupt

    with progress() as say, _letters(settings) as letters:
        for place in wanted.places:
            letters.content(place)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        done = replay(settings, letters, wanted, again=again, dry_run=dry_run, stopped=lambda: bool(signals), say=say)
    sent = done.sent.total()
    refused = [(t, why, n) for (t, why), n in done.refused.most_common()]
    data = {
        "dry_run": dry_run,
        "looked_at": done.looked_at,
        "sent": sent,
        "by_topic": dict(done.sent),
        "refused": done.refused.total(),
        "reasons": [{"topic": t, "reason": why, "count": n} for t, why, n in refused],
    }
    rows = [
        *((t, "would be sent" if dry_run else "sent", n) for t, n in sorted(done.sent.items())),
        *((t, f"stays: {plain(why)}", n) for t, why, n in refused),
    ]
    show(json, data, table("topic", "outcome", "messages", rows=rows) if rows else "Nothing to replay.")


def _as_dict(letter: Letter) -> dict[str, Any]:
    return {
        **letter.place._asdict(),
        "time": letter.at.isoformat(),
        "reason": letter.reason,
        "replayed_at": letter.replayed_at.isoformat() if letter.replayed_at else None,
    }


def _short(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S")
