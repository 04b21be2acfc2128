"""Bad messages, bad files, cuts and full disks: kept, reported in one clear line, and nothing else is lost."""

from __future__ import annotations

import json
import os
import re
import shutil
import zipfile
from pathlib import Path

import pytest

from playlake import broker, events
from playlake.broker import Producer
from playlake.demo import Demo
from playlake.errors import PlaylakeError
from playlake.pipeline import quiet
from playlake.settings import ROOT
from playlake.sources.simulator import Simulation
from playlake.sources.simulator.listening import DEFAULT_END
from playlake.warehouse import dbt
from tests.support.commands import Cli
from tests.support.exports import make_export
from tests.support.lakes import assert_whole


@pytest.mark.parametrize(
    ("make", "says", "code"),
    [
        (lambda p: p / "nothing-here", "does not exist", 2),
        (lambda p: _write(p / "song.mp3", b"ID3\x00\x01"), "is no listening history", 2),
        (lambda p: _zip(p / "empty.zip", {"Photos/cat.jpg": b"x"}), "holds no listening history", 2),
        (lambda p: _write(p / "cut.zip", b"PK\x03\x04 cut"), "is not a whole zip file", 2),
        (lambda p: _write(p / "Streaming_History_Audio_2020_1.json", b"[]"), "extended streaming history", 2),
        (lambda p: _write(p / "StreamingHistory0.json", b"this is text"), "could not be read", 1),
    ],
    ids=["missing", "other kind", "zip without history", "cut zip", "extended", "not json"],
)
def test_history_that_is_none_gets_one_clear_line(cli: Cli, tmp_path: Path, make: object, says: str, code: int) -> None:
    path = make(tmp_path)  # type: ignore[operator]
    done = cli("import", str(path), check=code)
    message = [line for line in done.err.splitlines() if line.startswith("playlake: ")]
    assert len(message) == 1
    assert says in message[0]
    assert str(path) in message[0]


def _write(path: Path, body: bytes) -> Path:
    path.write_bytes(body)
    return path


def _zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, body in files.items():
            archive.writestr(name, body)
    return path


def test_the_reasons_of_what_is_refused_are_told(cli: Cli, tmp_path: Path) -> None:
    export = make_export(tmp_path / "export", 60, files=1, seed=78)
    file = export / "StreamingHistory0.json"
    rows = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps([*rows, {**rows[0], "msPlayed": -1}, {**rows[0], "msPlayed": -2}, "no row"]))
    done = cli("import", str(export), "--user", "refused")
    assert "2 refused: msPlayed is not a number of milliseconds from 0 to 2^53: -1" in done.out
    assert '1 refused: not a JSON object: "no row"' in done.out


def test_an_import_that_takes_nothing_fails_and_says_why(cli: Cli, tmp_path: Path) -> None:
    """It ended with code 0 and a table of zeros. Names with brackets were taken for markup, and left out."""
    rows = [{"endTime": "2024-09-01 10:11", "podcastName": "A Show", "episodeName": "1", "msPlayed": 5}] * 3
    file = tmp_path / "[backup]" / "tags[/red]" / "StreamingHistory_podcast_0 [bold].json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(rows))
    says = "Nothing was imported: all 3 rows were refused: a podcast episode, which is not imported yet (3)."
    done = cli("import", str(file.parent), check=1)
    assert says in done.err
    assert file.name in done.out
    os.utime(file, (1_700_000_000, 1_700_000_000))
    done = cli.with_settings(inbox=tmp_path)("inbox", check=1)
    assert "[backup]" in done.out
    assert says in " ".join(done.out.split())
    simulation = Simulation(1, 1, 1, 1, DEFAULT_END)
    demo = Demo(cli.settings(), history=[file], user_id="me", simulation=simulation)
    with pytest.raises(PlaylakeError, match=re.escape(says)):
        demo._produce(cli.settings(), quiet)


def test_a_truncated_file_keeps_its_good_rows_and_the_whole_one_adds_the_rest(cli: Cli, tmp_path: Path) -> None:
    export = make_export(tmp_path / "export", 900, files=1, seed=77)
    file = export / "StreamingHistory0.json"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    done = cli("import", str(export), "--user", "cut", "--json", check=1)
    assert "could not be read to the end" in done.err
    receipt = done.json
    assert 300 < receipt["produced"] == receipt["read"] < 600
    assert receipt["files"][0]["damaged"]
    cli("land", "--until-idle")
    file.write_bytes(whole)
    again = cli.json("import", str(export), "--user", "cut")
    assert (again["read"], again["same"], again["produced"]) == (900, receipt["produced"], 900 - receipt["produced"])
    cli("land", "--until-idle")
    assert_whole(cli)
    assert len(list((cli.home / "receipts").glob("*.json"))) >= 2


def test_a_failing_test_of_the_warehouse_publishes_nothing(
    own: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.json("simulate", "--plays", "300", "--listeners", "3")
    own("land", "--until-idle")
    # A key of gold that is there twice: what the models' own tests must catch.
    project = tmp_path / "dbt"
    shutil.copytree(ROOT / "dbt", project, ignore=shutil.ignore_patterns("target", "logs"))
    model = project / "models" / "gold" / "artist_stats.sql"
    model.write_text(model.read_text() + "\nunion all by name select * from (" + model.read_text() + ") as again\n")
    monkeypatch.setattr(dbt, "PROJECT", project)
    done = own("build", check=1)
    assert "was not published" in done.err
    assert "artist_stats" in done.err
    assert own.json("status")["build"] is None


def test_every_offset_is_read(cli: Cli) -> None:
    """The verifier's own reading of the log is the number that the broker acknowledged."""
    with broker.Admin(cli.settings()) as admin:
        topics = admin.topics(events.TOPICS)
    before = _log_rows(cli, topics[events.LIKES].partitions)
    with Producer(cli.settings()) as producer:
        for n in range(250):
            producer.send(events.LIKES, f"k{n}", b"{}")
    assert _log_rows(cli, topics[events.LIKES].partitions) == before + 250


def _log_rows(cli: Cli, partitions: int) -> int:
    return sum(map(len, broker.read_offsets(cli.settings(), {events.LIKES: partitions}).values()))
