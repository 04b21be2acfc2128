"""dbt's own unit tests: what each model makes of a handful of rows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.models.warehouse import Warehouse

NO_LOGIC = {"silver_plays", "silver_skips", "silver_likes", "silver_invalid"}
"""Models that only choose rows of another."""


@pytest.fixture(scope="module")
def ran(warehouse: Warehouse) -> list[dict[str, Any]]:
    """The results of all unit tests, on an empty warehouse, which gives them the types of the columns."""
    warehouse.run("run")
    return warehouse.dbt("test", "--select", "test_type:unit", DBT_EXCLUDE_RESOURCE_TYPES="")


def test_every_unit_test_passes(ran: list[dict[str, Any]]) -> None:
    assert {r["status"] for r in ran} == {"pass"}


def test_every_model_with_logic_has_one(ran: list[dict[str, Any]], warehouse: Warehouse) -> None:
    manifest = json.loads((warehouse.home / "target" / "manifest.json").read_text())
    models = {n["name"] for n in manifest["nodes"].values() if n["resource_type"] == "model"}
    tested = {t["model"] for t in manifest["unit_tests"].values()}
    assert len(ran) == len(manifest["unit_tests"])
    assert models - tested <= NO_LOGIC


def test_every_model_and_column_is_described(ran: list[dict[str, Any]], warehouse: Warehouse) -> None:
    manifest = json.loads((warehouse.home / "target" / "manifest.json").read_text())
    described = {
        (n["schema"], n["name"]): {c for c, column in n["columns"].items() if column["description"]}
        for n in manifest["nodes"].values()
        if n["resource_type"] == "model" and n["description"]
    }
    columns = warehouse.rows(
        "select table_schema, table_name, column_name from information_schema.columns"
        " where table_schema in ('raw', 'silver', 'gold')"
    )
    assert len(columns) > 100
    assert [c for *table, c in columns if c not in described.get(tuple(table), set())] == []
