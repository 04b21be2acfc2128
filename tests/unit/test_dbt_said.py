"""What is said of a dbt that failed."""

from __future__ import annotations

from pathlib import Path

from playlake.warehouse import dbt


def test_a_store_that_went_while_dbt_ran_is_said_with_what_to_do() -> None:
    """What DuckDB said of one that was killed (2026-11-30)."""
    said = (
        "Runtime Error in model silver_events (models/silver/silver_events.sql)\n  IO Error: DeltaKernel"
        " ObjectStoreError (8): Error interacting with object store: Generic S3 error: Error performing GET"
        " http://127.0.0.1:27517/playlake/bronze/plays/_delta_log/_last_checkpoint in 2.081260411s, after 10 retries,"
        " max_retries: 10, retry_timeout: 180s  - HTTP error: error sending request"
    )
    node = {"unique_id": "model.playlake.silver_events", "message": said}
    told = dbt._failure([node], [], Path("logs"), "The build was not published")
    assert "HTTP error: error sending request. Check" in told
    assert "`playlake up` starts the embedded one" in told
    other = dbt._failure([{**node, "message": "Got 1 result, configured to fail if != 0"}], [], Path("logs"), "No")
    assert "playlake up" not in other
