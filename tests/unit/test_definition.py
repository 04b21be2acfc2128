"""When a build has to make everything anew: other models, other settings, another lake, or one that failed half-way."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from playlake.settings import load_settings
from playlake.warehouse import dbt
from playlake.warehouse.definition import Definition, fingerprint, load

LAKE = {"bronze/plays": 7, "bronze/skips": 3}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return Path(shutil.copytree(dbt.PROJECT, tmp_path / "dbt", ignore=shutil.ignore_patterns("target", "logs")))


def test_models_macros_and_vars_count_and_nothing_else(project: Path) -> None:
    settings = load_settings(_env_file=None)
    before = fingerprint(settings, project)
    assert before == fingerprint(settings, project) == fingerprint(settings)
    (project / "target").mkdir()
    (project / "target" / "manifest.json").write_text("{}")
    assert fingerprint(settings, project) == before
    for name in ("models/silver/silver_events.sql", "macros/plays.sql", "dbt_project.yml"):
        path = project / name
        path.write_text(path.read_text() + "\n")
        after = fingerprint(settings, project)
        assert after != before
        before = after


@pytest.mark.parametrize("other", [{"time_zone": "Europe/Berlin"}, {"counts_as_play": "30s"}, {"merge_sources": False}])
def test_settings_that_models_read_count(other: dict[str, Any]) -> None:
    assert fingerprint(load_settings(_env_file=None, **other)) != fingerprint(load_settings(_env_file=None))


def test_settings_that_models_do_not_read_do_not(tmp_path: Path) -> None:
    assert fingerprint(load_settings(_env_file=None, home=tmp_path)) == fingerprint(load_settings(_env_file=None))


def test_what_makes_a_build_a_full_one() -> None:
    made = Definition("a", LAKE, whole=True)
    assert not made.needs_all("a", LAKE)
    assert not made.needs_all("a", LAKE | {"bronze/plays": 9, "bronze/likes": 0})
    assert made.needs_all("b", LAKE)
    assert made.needs_all("a", LAKE | {"bronze/plays": 6})
    assert made.needs_all("a", {"bronze/plays": 7})
    assert Definition("a", LAKE, whole=False).needs_all("a", LAKE)


def test_it_is_remembered(tmp_path: Path) -> None:
    assert load(tmp_path) is None
    made = Definition("a", LAKE, whole=False)
    made.save(tmp_path)
    assert load(tmp_path) == made
    assert load(tmp_path, "cloud") is None
    (tmp_path / "definition-local.json").write_text("[]")
    assert load(tmp_path) is None
