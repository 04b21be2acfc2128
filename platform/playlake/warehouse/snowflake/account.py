"""An account made ready, and looked at: `playlake cloud setup` and `cloud status`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from playlake.settings import Settings
from playlake.warehouse.snowflake import ddl, keys
from playlake.warehouse.snowflake.connection import connect, query
from playlake.warehouse.snowflake.options import Snowflake, load_snowflake
from playlake.warehouse.snowflake.setup import INTEGRATION, VOLUME, Statement, statements, trust_policy

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run, or was."""

    statements: list[Statement]
    key: Path
    key_made: bool = False
    trust_policy: str | None = None

    def script(self) -> str:
        """The statements as a script that a worksheet takes."""
        return "".join(f"-- {s.title}.\n{s.sql};\n" for s in self.statements)


def plan(settings: Settings, schemas: Mapping[str, pa.Schema]) -> Plan:
    """What `cloud setup` would run. Makes the key pair, without which the script would be of no use."""
    options = load_snowflake()
    key, made = _key(settings, options)
    return Plan(statements(settings, options, schemas, _public(key, options)), key, made)


def apply(settings: Settings, schemas: Mapping[str, pa.Schema], say: Say) -> Plan:
    """Run it.

    :raises UsageError: when the settings do not say enough.
    :raises PlaylakeError: when Snowflake refuses something; what was done stays, and this can be run again.
    """
    options = load_snowflake()
    options.require_account()  # before a key is made
    planned = plan(settings, schemas)
    say("connecting to Snowflake")
    with connect(settings, options, admin=True) as connection:
        for number, statement in enumerate(planned.statements, 1):
            say(f"{number} of {len(planned.statements)}: {statement.title}")
            query(connection, statement.sql)
        policy = None if options.bronze == "loaded" else _policy(connection, options)
    return Plan(planned.statements, planned.key, planned.key_made, policy)


def status(settings: Settings) -> dict[str, Any]:
    """Who the builds are to Snowflake, and what bronze holds."""
    options = load_snowflake()
    with connect(settings, options) as connection:
        rows = query(
            connection, f"SELECT folder, delta_version, files, row_count FROM {ddl.versions(options)} ORDER BY folder"
        )
    tables = [{"folder": f, "version": _int(v), "files": _int(n), "rows": _int(r)} for f, v, n, r in rows]
    return {
        "account": options.account,
        "user": options.user,
        "role": options.role,
        "warehouse": options.warehouse,
        "database": options.database,
        "bronze": options.bronze,
        "tables": tables,
    }


def _int(value: Any) -> int | None:
    return None if value is None else int(value)


def _key(settings: Settings, options: Snowflake) -> tuple[Path, bool]:
    path = options.key_file(settings)
    made = keys.make(path, options.passphrase())
    return options.require_key(settings), made


def _public(key: Path, options: Snowflake) -> str:
    return keys.public(key, options.passphrase())


def _policy(connection: Any, options: Snowflake) -> str:
    """What AWS is to trust, as Snowflake says it of the integration or the volume."""
    if options.bronze == "external":
        found = {str(row[0]): str(row[2]) for row in query(connection, f"DESC INTEGRATION {INTEGRATION}")}
    else:
        rows = query(connection, f"DESC EXTERNAL VOLUME {VOLUME}")
        found = next((json.loads(row[3]) for row in rows if str(row[1]).startswith("STORAGE_LOCATION_")), {})
    return trust_policy(str(found.get("STORAGE_AWS_IAM_USER_ARN")), str(found.get("STORAGE_AWS_EXTERNAL_ID")))
