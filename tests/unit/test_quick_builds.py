"""What lets a build be quick: dbt's parsed project from another home, and the mark of a lake that has nothing new."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from playlake.settings import load_settings
from playlake.warehouse import dbt, parsed, unchanged
from playlake.warehouse.unchanged import Published

LAKE = {"bronze/plays": 7, "bronze/skips": 3}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return Path(shutil.copytree(dbt.PROJECT, tmp_path / "dbt", ignore=shutil.ignore_patterns("target", "logs")))


def _parse(home: Path, content: bytes) -> Path:
    home.mkdir(exist_ok=True)
    file = home / "partial_parse.msgpack"
    file.write_bytes(content)
    return file


def _brought(project: Path, home: Path, target: str = "local", arguments: tuple[str, ...] = ("build",)) -> bytes | None:
    shutil.rmtree(home, ignore_errors=True)
    parsed.Copy(project, home, target, arguments).bring()
    file = home / "partial_parse.msgpack"
    return file.read_bytes() if file.exists() else None


def test_what_one_home_has_parsed_the_next_one_gets(project: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    assert _brought(project, other) is None
    _parse(tmp_path / "one", b"parsed")
    parsed.Copy(project, tmp_path / "one", "local", ["build"]).keep()
    assert _brought(project, other) == b"parsed"
    assert _brought(project, other, arguments=("run", "--select", "tag:recommendations")) == b"parsed"
    assert [path.name for path in other.iterdir()] == ["partial_parse.msgpack"]


def test_it_is_of_this_project_target_and_vars(project: Path, tmp_path: Path) -> None:
    _parse(tmp_path / "one", b"parsed")
    parsed.Copy(project, tmp_path / "one", "local", ["build"]).keep()
    other = tmp_path / "other"
    assert _brought(project, other, "cloud") is None
    assert _brought(project, other, arguments=("run", "--vars", "{basket: user}")) is None
    assert _brought(project, other, arguments=("run", "--vars={basket: user}")) is None
    (project / "data-tests" / "another.sql").write_text("select 1 where false")
    assert _brought(project, other) is None


def test_what_a_home_has_parsed_itself_stays(project: Path, tmp_path: Path) -> None:
    first, own = _parse(tmp_path / "one", b"of one"), _parse(tmp_path / "own", b"its own")
    parsed.Copy(project, first.parent, "local", ["build"]).keep()
    copy = parsed.Copy(project, own.parent, "local", ["build"])
    copy.bring()
    copy.keep()
    assert own.read_bytes() == b"its own"
    assert _brought(project, tmp_path / "other") == b"of one"


def test_only_the_last_copies_stay(project: Path, tmp_path: Path) -> None:
    _parse(tmp_path / "one", b"parsed")
    for number in range(12):
        parsed.Copy(project, tmp_path / "one", "local", ["run", "--vars", f"{{a: {number}}}"]).keep()
    assert len(list((project / "target" / "parsed").iterdir())) == 8


def test_a_project_that_can_not_be_written_to_is_no_matter(project: Path, tmp_path: Path) -> None:
    (project / "target").write_text("a file where the folder would be")
    _parse(tmp_path / "one", b"parsed")
    copy = parsed.Copy(project, tmp_path / "one", "local", ["build"])
    copy.keep()
    copy.bring()
    assert _brought(project, tmp_path / "other") is None


def test_dbt_by_hand_parses_beside_what_builds_have_parsed(tmp_path: Path) -> None:
    own = _parse(tmp_path / "target", b"of builds")
    for before in (None, b"by hand"):
        with parsed.by_hand(own.parent):
            assert (own.read_bytes() if own.exists() else None) == before
            own.write_bytes(b"by hand")
        assert own.read_bytes() == b"of builds"


def test_what_is_new_to_a_build(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dbt, "PROJECT", project)
    settings = load_settings(_env_file=None)

    def key(versions: dict[str, int] = LAKE, mark: str = "a", **other: Any) -> str:
        return unchanged.key(load_settings(_env_file=None, **other) if other else settings, versions, mark)

    before = key()
    assert before == key() == key(dict(reversed(LAKE.items())), home="/elsewhere")
    assert before != key({**LAKE, "bronze/skips": 4})
    assert before != key(mark="another lake at the same versions")
    assert before != key(s3_bucket="other")
    assert before != key(time_zone="Europe/Berlin")
    (project / "data-tests" / "another.sql").write_text("select 1 where false")
    assert before != key()


def test_it_is_remembered_until_something_changes_the_tables(tmp_path: Path) -> None:
    assert Published.load(tmp_path, "local") is None
    unchanged.forget(tmp_path, "local")
    made = Published("key", 5)
    made.save(tmp_path, "local")
    assert Published.load(tmp_path, "local") == made
    assert Published.load(tmp_path, "cloud") is None
    unchanged.forget(tmp_path, "local")
    assert Published.load(tmp_path, "local") is None
