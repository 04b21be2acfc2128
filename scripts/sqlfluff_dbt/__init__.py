"""What dbt's macros are given while sqlfluff reads the models (``library_path`` in ``.sqlfluff``): no dbt has to start.

The macros of the project are the real ones; dispatched ones are chosen after ``SQL_DIALECT``, as dbt does after the
adapter. What would ask a database gets nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from jinja2 import pass_context
from jinja2.runtime import Context

_PROJECT = yaml.safe_load((Path(__file__).resolve().parents[2] / "dbt" / "dbt_project.yml").read_text())
_DIALECT = os.environ.get("SQL_DIALECT", "duckdb")

execute = False


class Adapter:
    """dbt's ``adapter``."""

    @pass_context
    def dispatch(self, context: Context, name: str, *_: object) -> Any:
        """The target's own macro, or else the one for all."""
        return context.get(f"{_DIALECT}__{name}") or context[f"default__{name}"]

    def get_relation(self, *_: object, **__: object) -> None:
        """No database, no relation."""


class Config:
    """dbt's ``config``, called and asked."""

    def __call__(self, *_: object, **__: object) -> str:
        return ""

    def get(self, _name: str, default: Any = None) -> Any:
        """Nothing is set."""
        return default


class Exceptions:
    """dbt's ``exceptions``."""

    def raise_compiler_error(self, text: str) -> None:
        """What a macro refuses, linting refuses too."""
        raise ValueError(text)


class Dbt:
    """dbt's own macros (``dbt.datediff(…)``): what they say for an engine is dbt's to get right, so a call will do."""

    def __getattr__(self, name: str) -> Callable[..., str]:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *arguments, **_: f"{name}({', '.join(map(str, arguments))})"


class Target:
    """dbt's ``target``."""

    type = _DIALECT
    name = "cloud" if _DIALECT == "snowflake" else "local"
    schema = "main"


adapter, config, dbt, exceptions, target = Adapter(), Config(), Dbt(), Exceptions(), Target()
run_started_at = datetime(2000, 1, 1, tzinfo=UTC)


def var(name: str, default: Any = None) -> Any:
    """The project's own variables."""
    return _PROJECT["vars"].get(name, default)


def env_var(name: str, default: str = "") -> str:
    """Nothing is set."""
    return default


def run_query(_sql: str) -> list[Any]:
    """No database, no rows."""
    return []
