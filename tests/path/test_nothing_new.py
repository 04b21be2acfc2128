"""`playlake build` where nothing is new: the same tables are published again, and dbt does not run."""

from __future__ import annotations

from typing import Any

from tests.support.commands import Cli


def test_dbt_runs_only_where_something_is_new(cli: Cli) -> None:
    results = cli.home / "warehouse" / "target" / "run_results.json"
    cli("simulate", "--plays", "300", "--listeners", "4")
    cli("land", "--until-idle")

    def build(*, runs: bool, **other: Any) -> dict[str, Any]:
        before = results.read_bytes() if results.exists() else b""
        found: dict[str, Any] = cli.with_settings(**other).json("build")
        assert (results.read_bytes() != before) == runs
        return {**found, "seconds": 0.0}

    first = build(runs=True)
    assert build(runs=False) == {**first, "version": first["version"] + 1}
    cli("build", "--rollback")
    assert build(runs=False) == {**first, "version": first["version"] + 2}

    assert build(runs=False, memory_mb=900)["gold"] == first["gold"]
    # Whatever may have changed the tables makes dbt run. tests/path/test_dbt_by_hand.py has dbt run by hand.
    cli("simulate", "--plays", "50", "--listeners", "2", "--seed", "3")
    cli("land", "--until-idle")
    assert build(runs=True)["silver"]["silver_plays"] == 350
    (cli.home / "warehouse" / "spotify_data.duckdb").unlink()
    assert build(runs=True)["silver"]["silver_plays"] == 350
