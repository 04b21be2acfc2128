"""Looking into the lake with DuckDB: counts, and which events it holds."""

from __future__ import annotations

from collections.abc import Mapping

from playlake import events
from playlake.settings import Settings
from playlake.warehouse import duck


def counts(settings: Settings, versions: Mapping[str, int]) -> dict[str, int]:
    """Rows of each table of the lake at the given version."""
    with duck.connect(settings) as connection:
        found = {}
        for path, version in versions.items():
            with duck.reading(path):
                row = connection.execute(
                    f"select count(*) from delta_scan('s3://{settings.s3_bucket}/{path}', version={int(version)})"
                ).fetchone()
            found[path] = int(row[0]) if row else 0
    return found


def by_source(settings: Settings, path: str) -> dict[str, int]:
    """Rows of a table by the source that their events name; ``not said`` for those that name none."""
    with duck.connect(settings) as connection, duck.reading(path):
        rows = connection.execute(
            "select coalesce(source, 'not said'), count(*)"
            f" from delta_scan('s3://{settings.s3_bucket}/{path}') group by all order by all"
        ).fetchall()
    return {str(source): int(count) for source, count in rows}


def known_events(settings: Settings, path: str, user_id: str, source: str) -> frozenset[bytes]:
    """The ids, 16 bytes each, of a listener's events of one source that the lake holds."""
    with duck.connect(settings) as connection, duck.reading(path):
        rows = connection.execute(
            f"select distinct event_id from delta_scan('s3://{settings.s3_bucket}/{path}')"
            " where user_id = ? and source = ?",
            [user_id, source],
        )
        found: set[bytes] = set()
        while chunk := rows.fetchmany(50_000):
            found.update(events.id_bytes(r[0]) for r in chunk)
    return frozenset(found)
