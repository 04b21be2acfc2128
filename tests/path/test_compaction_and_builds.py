"""Builds after a compaction: none where it is all there is, and the same tables as from nothing where more came."""

from __future__ import annotations

from typing import Any

import duckdb
from deltalake import DeltaTable

from playlake import events
from playlake.lake import tables
from playlake.lake.compact import compact
from playlake.lake.news import same_rows
from playlake.lake.options import storage_options
from playlake.lake.store import Store
from playlake.warehouse.build import has_news
from tests.support.commands import Cli
from tests.support.lakes import assert_whole

NOT_COMPARED = {"processed_at", "_build", "_first_build"}


def land(cli: Cli, seed: int, *, commits: int = 2) -> None:
    for part in range(commits):
        cli("simulate", "--plays", "300", "--listeners", "6", "--seed", str(seed + part))
        cli("land", "--until-idle")


def compact_all(cli: Cli) -> int:
    """Compact also the hour that is not over; how many hours there were."""
    settings = cli.settings()
    return sum(compact(settings, table, older_than_s=-7200).hours for table in tables.every(settings))


def built(cli: Cli) -> dict[str, Any]:
    """Every table of silver and gold, rows sorted, without what tells of a build."""
    found = {}
    with duckdb.connect(str(cli.home / "warehouse" / "spotify_data.duckdb"), read_only=True) as connection:
        connection.execute("set timezone = 'UTC'")
        names = connection.execute(
            "select table_schema, table_name from information_schema.tables"
            " where table_schema in ('silver', 'gold') and table_type = 'BASE TABLE' order by all"
        ).fetchall()
        for schema, table in names:
            columns = [str(r[0]) for r in connection.execute(f"describe {schema}.{table}").fetchall()]
            kept = ", ".join(f'"{c}"' for c in columns if c not in NOT_COMPARED)
            found[f"{schema}.{table}"] = connection.execute(
                f"select {kept} from {schema}.{table} order by all"
            ).fetchall()
    return found


def test_a_compaction_is_no_news_and_old_rows_seen_again_change_nothing(cli: Cli) -> None:
    land(cli, seed=1)
    first = cli.json("build")
    # Where nothing is new, the same tables are published again, and dbt does not run.
    results = cli.home / "warehouse" / "target" / "run_results.json"
    of_dbt = results.read_bytes()
    for version in (2, 3):
        again = cli.json("build")
        assert again | {"seconds": 0} == first | {"version": version, "seconds": 0}
        cli("build", "--rollback")
    assert results.read_bytes() == of_dbt
    settings = cli.settings()
    before = tables.snapshot(settings)
    assert compact_all(cli) >= 3
    after = tables.snapshot(settings)
    assert after != before
    assert not has_news(settings, after, same_rows(settings))
    assert has_news(settings.model_copy(update={"target": "cloud"}), after, same_rows(settings))
    assert cli.json("refresh")["built"] is None

    land(cli, seed=10)
    assert has_news(settings, tables.snapshot(settings), same_rows(settings))
    compact_all(cli)  # what is new and what is old now lie in the same files
    assert cli.json("refresh")["built"]["silver"]["silver_plays"] > 900
    incremental = built(cli)
    assert len(incremental) > 15
    assert sum(map(len, incremental.values())) > 1000
    cli("build", "--full-refresh")
    full = built(cli)
    assert full.keys() == incremental.keys()
    assert [name for name in full if full[name] != incremental[name]] == []
    assert_whole(cli)


def test_what_is_no_news_and_what_is(cli: Cli) -> None:
    settings = cli.settings()
    land(cli, seed=20)
    folder = tables.FOLDERS[events.PLAYS]
    table = tables.bronze(settings, events.PLAYS)
    delta = DeltaTable(table.uri, storage_options=storage_options(settings))
    start = delta.version()
    compact(settings, table, older_than_s=-7200)
    table.prune(0)
    delta.update_incremental()
    pruned = delta.version()
    assert pruned > start + 1
    assert same_rows(settings)(folder, start, pruned)
    assert not same_rows(settings)(folder, pruned, start), "an earlier version is another table"
    assert not same_rows(settings)(folder, start - 1, pruned), "rows came"
    delta.alter.set_table_properties({"delta.logRetentionDuration": "interval 60 days"})
    assert not same_rows(settings)(folder, pruned, delta.version())
    delta.alter.set_table_properties({"delta.logRetentionDuration": "interval 30 days"})
    gone = f"{folder}/_delta_log/{start + 1:020}.json"
    store = Store(settings)
    body = store.read(gone)
    store.delete(gone)
    try:
        assert not same_rows(settings)(folder, start, pruned - 1), "the log has forgotten"
    finally:
        store.write(gone, body)
