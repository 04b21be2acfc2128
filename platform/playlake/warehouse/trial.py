"""The recommendation models on part of the plays: dbt's own SQL in a scratch DuckDB file, for `playlake evaluate`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import yaml  # dbt's own
from pydantic import SecretStr

from playlake.settings import Settings
from playlake.warehouse import dbt, definition, duck
from playlake.warehouse.local import Local

Say = Callable[[str], None]
FIXED = {
    "recommendations": "twenty a listener are measured",
    "build_number": "it is a build's",
    "published_build": "it is a build's",
    **{name: f"set PLAYLAKE_{name.upper()}" for name in ("time_zone", "counts_as_play", "merge_sources")},
}
"""Variables of the project that a trial sets itself, and why."""

# The columns that the models read, of counted_plays' own types; what a file can't say is null.
_FROM_FILE = """
    select
        'row-' || row_number() over () as event_id, user_id, 'play' as event_type, track_id, track_id as track_name,
        played_at::date as played_date, null::varchar as reason_end,
        '' as artist_name, null::varchar as album_name, null::bigint as duration_ms, played_at,
        null::varchar as device_type, null::bigint as ms_played, null::bigint as listened_ms,
        null::timestamptz as started_at, null::timestamptz as ended_at, 1.0::double as time_precision_s,
        'file' as source, null::boolean as skipped, false as is_long, true as is_duration_unknown,
        true as is_album_unknown, true as is_device_unknown, null::varchar as _kafka_topic_id,
        0 as _kafka_partition, 0::bigint as _kafka_offset, current_timestamp as processed_at, count
    from given
"""


def variables_of_the_project() -> list[str]:
    """The names of the dbt project's variables."""
    found: dict[str, Any] = yaml.safe_load((dbt.PROJECT / "dbt_project.yml").read_text())["vars"]
    return sorted(found)


class Trial:
    """A warehouse to try things in, in a folder of its own. All plays are kept; the models see some of them.

    :param folder: empty and ours; the caller removes it.
    """

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.folder = folder
        self._where = Local(settings, folder)
        self.database = self._where.database
        self.settings = settings
        self._counted = False
        """Whether a row may stand for several plays."""

    def take_lake(self, versions: Mapping[str, int], say: Say) -> None:
        """Silver plays as a build makes them, from the lake at these versions.

        :raises PlaylakeError: when the model fails, or the lake can't be read.
        """
        self._where.pin(versions, {}, None, say)
        self._dbt(["run", "--select", "+counted_plays"], say)
        with self._connect() as connection:
            self._keep(connection, "select *, 1::bigint as count from gold.counted_plays")
            connection.execute("drop view gold.counted_plays")

    def take_rows(self, given: pa.Table) -> None:
        """Plays of a file.

        :param given: user_id, track_id (string), played_at (timestamp[us, UTC]), count (int64, at least 1).
        """
        with self._connect() as connection:
            connection.register("given", given)
            connection.execute("create schema if not exists gold")
            self._keep(connection, _FROM_FILE)
            [[most]] = connection.execute("select max(count) from given").fetchall()
            self._counted = (most or 0) > 1
        # dbt's connection is made for a lake; here nothing reads one, so any address will do.
        self.settings = self.settings.model_copy(
            update={
                "s3_endpoint": "http://127.0.0.1:9",
                "s3_access_key": SecretStr("none"),
                "s3_secret_key": SecretStr("none"),
            }
        )

    def plays(self) -> pa.Table:
        """All plays: play_number (int64, 0 and on), user_id, track_id, played_at, count, in the order of their time.

        A row of a file is one row here, whatever its count is.
        """
        with self._connect(read_only=True) as connection:
            return _table(
                connection,
                "select play_number, user_id, track_id, played_at, count from trial.plays order by play_number",
            )

    def recommend(self, training: pa.Array, most: int, variables: Mapping[str, Any], say: Say) -> pa.Table:
        """What the dbt models recommend from the plays with these numbers.

        :param training: play numbers (int64).
        :param most: rows a listener.
        :param variables: of the dbt project, where they differ from its own.
        :returns: user_id, track_id, rank (from 1), recommendation_score.
        :raises PlaylakeError: when a model fails.
        """
        with self._connect() as connection:
            connection.register("training", pa.table({"play_number": training}))
            connection.execute(
                "create or replace table gold.counted_plays as"
                " select * exclude (play_number, count) from trial.plays semi join training using (play_number)"
            )
        given = json.dumps({**variables, "recommendations": most})
        models = ["first_listens", "track_popularity", "listening_sessions", "tag:recommendations"]
        if self._counted:
            # The models count rows: what a row stands for is put into the totals that they count from.
            self._dbt(["run", "--full-refresh", "--select", "play_totals", "--vars", given], say)
            self._count(training)
        else:
            models = ["play_totals", *models]
        self._dbt(["run", "--full-refresh", "--select", *models, "--vars", given], say)
        with self._connect(read_only=True) as connection:
            return _table(
                connection,
                "select user_id, track_id, rank, recommendation_score from gold.user_recommendations"
                " order by user_id, rank",
            )

    def _count(self, training: pa.Array) -> None:
        with self._connect() as connection:
            connection.register("training", pa.table({"play_number": training}))
            connection.execute(
                "update silver.play_totals as totals set play_count = given.plays, heard_plays = given.plays from"
                " (select user_id, track_id, sum(count)::bigint as plays from trial.plays"
                " semi join training using (play_number) group by user_id, track_id) as given"
                " where totals.user_id = given.user_id and totals.track_id = given.track_id"
            )

    def similarities(self) -> pa.Table:
        """After :meth:`recommend`: track_id, similar_track_id, score of all neighbours, not only of the best ten."""
        with self._connect(read_only=True) as connection:
            return _table(
                connection,
                "select own.track_id, other.track_id as similar_track_id, score from silver.track_neighbours"
                " join silver.track_catalogue as own using (track_number)"
                " join silver.track_catalogue as other on similar_track_number = other.track_number",
            )

    def _connect(self, *, read_only: bool = False) -> Any:
        connection = duckdb.connect(str(self.database), read_only=read_only)
        connection.execute("set timezone = 'UTC'")
        return duck.closing(connection)

    def _keep(self, connection: duckdb.DuckDBPyConnection, query: str) -> None:
        connection.execute("create schema if not exists trial")
        connection.execute(
            "create or replace table trial.plays as"
            " select row_number() over (order by played_at, event_id) - 1 as play_number, *"
            f" from ({query}) order by play_number"
        )

    def _dbt(self, arguments: list[str], say: Say) -> None:
        variables = definition.variables(self.settings)
        dbt.run(self.settings, self._where, arguments, say, variables=variables, outcome="The models could not be run")


def _table(connection: duckdb.DuckDBPyConnection, query: str) -> pa.Table:
    return connection.execute(query).to_arrow_table()
