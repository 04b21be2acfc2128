"""One warehouse for the tests of a module."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.models.warehouse import Warehouse


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a module's warehouse goes."""
    return tmp_path_factory.mktemp("models") / "warehouse"


@pytest.fixture(scope="module")
def warehouse(home: Path) -> Warehouse:
    """An empty warehouse, in UTC."""
    return Warehouse.at(home)
