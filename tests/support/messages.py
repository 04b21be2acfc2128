"""Messages to produce: plays as a producer of its own makes them."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Any

from playlake import events
from playlake.broker import Admin, Producer
from tests.support.commands import Cli
from tests.support.lakes import bronze_ids


def play(**fields: Any) -> dict[str, Any]:
    """A valid play of now, with an id of its own."""
    return {
        "event_id": str(uuid.uuid4()),
        "user_id": "ada",
        "event_type": "play",
        "track_id": "t",
        "track_name": "Song",
        "artist_name": "Band",
        "album_name": None,
        "duration_ms": 1,
        "played_at": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "device_type": None,
        **fields,
    }


def send(cli: Cli, *plays: dict[str, Any]) -> list[str]:
    """Produce plays; their ids."""
    with Admin(cli.settings()) as admin:
        admin.ensure(events.TOPICS)
    with Producer(cli.settings()) as producer:
        for one in plays:
            producer.send(events.PLAYS, one["user_id"], json.dumps(one).encode())
    return [one["event_id"] for one in plays]


def landed(cli: Cli, ids: list[str]) -> bool:
    """Whether all these event ids are in bronze."""
    return set(ids) <= set(bronze_ids(cli))
