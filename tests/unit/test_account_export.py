"""Importing Spotify's account data: every row becomes a play, is known already, or is refused with its reason."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
import tempfile
import tracemalloc
import zipfile
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as h
from hypothesis import strategies as st

from playlake import events
from playlake.errors import UnavailableError, UsageError
from playlake.sources.exports import Receipt, ReceiptBook, import_history
from playlake.sources.exports.account import AccountExport

Row = Any
NOW_MS = int(datetime.now(UTC).timestamp() * 1000)


class ListSink:
    """Keeps what was sent, and counts how often that was acknowledged."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, str, bytes | None]] = []
        self.flushes = 0

    def send(self, topic: str, key: str, value: bytes | None) -> None:
        self.messages.append((topic, key, value))

    def flush(self) -> None:
        self.flushes += 1

    @property
    def events(self) -> list[events.Event]:
        found = [events.decode(topic, value, NOW_MS) for topic, _, value in self.messages]
        return [event for event in found if isinstance(event, events.Event)]

    @property
    def ids(self) -> set[str]:
        return {event.event_id for event in self.events}


def row(end: str = "2021-04-22 05:41", artist: str = "Band", track: str = "Song", played: object = 180_000) -> Row:
    return {"endTime": end, "artistName": artist, "trackName": track, "msPlayed": played}


def write(path: Path, rows: Iterable[Row]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(list(rows), ensure_ascii=False), encoding="utf-8")
    return path


def run(*paths: Path, user: str = "me", known: Iterable[str] = (), sink: ListSink | None = None) -> Receipt:
    before = frozenset(map(events.id_bytes, known))
    receipt = import_history(
        paths,
        user_id=user,
        sink=lambda: sink if sink is not None else ListSink(),
        known=lambda name: before if name == "export_account" else frozenset(),
        book=lambda receipt: ReceiptBook.in_folder(receipt, Path("receipts")),
    )
    assert receipt.balanced
    return receipt


def imported(*paths: Path, **options: Any) -> list[events.Event]:
    sink = ListSink()
    receipt = run(*paths, sink=sink, **options)
    assert receipt.produced == len(sink.messages)
    return sink.events


def ids(found: Iterable[events.Event]) -> list[str]:
    return [event.event_id for event in found]


# -- rows ---------------------------------------------------------------------------------------------------------


def test_a_row_says_what_it_knows_and_nothing_else(tmp_path: Path) -> None:
    sink = ListSink()
    run(write(tmp_path / "StreamingHistory0.json", [row(artist="Sigur Rós", track="Sæglópur")]), sink=sink)
    [(topic, key, value)] = sink.messages
    assert (topic, key) == (events.PLAYS, "me")
    ended = datetime(2021, 4, 22, 5, 41, tzinfo=UTC)
    assert events.decode(topic, value, NOW_MS) == events.Event(
        event_id=events.event_id("export_account", "me", "2021-04-22 05:41", "Sigur Rós", "Sæglópur", 180_000, 0),
        user_id="me",
        event_type="play",
        track_id=events.surrogate_track_id("Sigur Rós", "Sæglópur"),
        track_name="Sæglópur",
        artist_name="Sigur Rós",
        album_name=None,
        duration_ms=None,
        played_at=ended,
        device_type=None,
        schema_version=1,
        source="export_account",
        ms_played=180_000,
        started_at=None,
        ended_at=ended,
        time_precision_s=60.0,
    )


def test_another_listener_has_other_ids(tmp_path: Path) -> None:
    path = write(tmp_path / "StreamingHistory0.json", [row()])
    assert ids(imported(path, user="me")) != ids(imported(path, user="you"))


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (["no", "object"], 'not a JSON object: ["no", "object"]'),
        (None, "not a JSON object: null"),
        ({k: v for k, v in row().items() if k != "endTime"}, "endTime is missing"),
        ({k: v for k, v in row().items() if k != "msPlayed"}, "msPlayed is missing"),
        ({"endTime": "2021-04-22 05:41", "podcastName": "P", "episodeName": "E", "msPlayed": 1}, "a podcast episode"),
        ({"endTime": "2021-04-22 05:41", "audiobookName": "B", "chapterName": "1", "msPlayed": 1}, "of an audiobook"),
        ({"ts": "2021-11-15T13:41:44Z", "ms_played": 1, "username": "x"}, "extended streaming history, which is not"),
        (row(artist=None), "artistName is not text"),  # type: ignore[arg-type]
        (row(played="180000"), 'msPlayed is not a whole number: "180000"'),
        (row(played=1.5), "msPlayed is not a whole number: 1.5"),
        (row(played=True), "msPlayed is not a whole number"),
        (row(played=-1), "msPlayed is not a number of milliseconds from 0 to 2^53: -1"),
        (row(played=2**53), "milliseconds from 0 to 2^53: 9007199254740992"),
        (row(played=10**300), "from 0 to 2^53: 1000000000"),
        (row(artist="x" * 4097), "artistName is over 4096 characters"),
        (row(track="x" * 10_000_000), "trackName is over 4096 characters"),
        (row(end="22.04.2021 05:41"), 'endTime is not a time of the form 2021-04-22 05:41: "22.04.2021 05:41"'),
        (row(end="2021-02-30 05:41"), '2021-04-22 05:41: "2021-02-30 05:41"'),
        (row(end="1970-01-01 00:00"), 'is before 2000 or in the future: "1970-01-01 00:00"'),
        (row(end="2099-01-01 00:00"), "is before 2000 or in the future"),
        (row(artist=""), "artistName is empty"),
        (row(track=""), "trackName is empty"),
    ],
)
def test_a_bad_row_is_refused_and_its_neighbours_are_not(tmp_path: Path, bad: Row, reason: str) -> None:
    path = write(tmp_path / "StreamingHistory0.json", [row(track="before"), bad, row(track="after")])
    sink = ListSink()
    receipt = run(path, sink=sink)
    assert [e.track_name for e in sink.events] == ["before", "after"]
    assert (receipt.read, receipt.produced, receipt.refused, receipt.damaged) == (3, 2, 1, [])
    assert receipt.refused_file is not None
    [refused] = map(json.loads, Path(receipt.refused_file).read_text(encoding="utf-8").splitlines())
    assert reason in refused["reason"]
    assert (refused["row"], refused["file"], refused["data"]) == (2, str(path), bad)


def test_a_whole_number_may_have_a_decimal_point(tmp_path: Path) -> None:
    """Spreadsheets and pandas write 180000 as 180000.0: it is the same play."""
    as_spotify = write(tmp_path / "a" / "StreamingHistory0.json", [row(played=180_000)])
    as_pandas = write(tmp_path / "b" / "StreamingHistory0.json", [row(played=180_000.0)])
    assert ids(imported(as_spotify)) == ids(imported(as_pandas))


def test_the_summary_shows_a_value_of_each_reason(tmp_path: Path) -> None:
    rows = [row(), row(played=1.5), row(played=2.5)]
    receipt = run(write(tmp_path / "StreamingHistory0.json", rows))
    assert receipt.reasons == {"msPlayed is not a whole number": 2}
    assert receipt.example("msPlayed is not a whole number") == "msPlayed is not a whole number: 1.5"
    assert receipt.as_dict()["examples"] == {"msPlayed is not a whole number": "1.5"}


def test_a_refused_row_may_be_anything(tmp_path: Path) -> None:
    deep = "[" * 3_000 + "]" * 3_000
    path = tmp_path / "StreamingHistory0.json"
    path.write_text(f'[{json.dumps(row())}, {deep}, {{"lone": "\\ud800"}}, {json.dumps(row(track="after"))}]')
    receipt = run(path)
    assert (receipt.read, receipt.produced, receipt.refused) == (4, 2, 2)
    assert receipt.refused_file is not None
    assert deep in Path(receipt.refused_file).read_text(encoding="utf-8"), "it is kept"


@pytest.mark.parametrize("form", ["[{row}, {deep}, {row}]", '[{row}, {{"endTime": {deep}}}, {row}]'])
def test_deep_nesting_takes_no_memory(tmp_path: Path, form: str) -> None:
    path = tmp_path / "StreamingHistory0.json"
    path.write_text(form.format(row=json.dumps(row()), deep="[" * 100_000 + "]" * 100_000))
    code = (
        "import resource, sys; from pathlib import Path; from playlake.sources.exports.account import AccountExport;"
        "resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30)); file = open(sys.argv[1], 'rb');"
        "print([getattr(o, 'reason', 'play') for o in AccountExport().read(file, 'me')])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "['play', 'nested too deep', 'play']", done.stderr


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ('{"endTime": "2021-04-22 05:41", "artistName": "a", "trackName": "b", "msPlayed": NaN}', "not a whole number"),
        ('{"endTime": "2021-04-22 05:41", "artistName": "a", "trackName": "\\ud83c", "msPlayed": 1}', "a cut emoji"),
        ('{"endTime": "2021-04-22 05:41", "artistName": "\\udf89", "trackName": "b", "msPlayed": 1}', "a cut emoji"),
        ('{"endTime": "2021-04-22 05:41", "artistName": "a, "trackName": "b", "msPlayed": 1}', "not JSON ("),
    ],
)
def test_a_row_that_is_no_good_json_is_refused_alone_and_kept(tmp_path: Path, bad: str, reason: str) -> None:
    path = tmp_path / "StreamingHistory0.json"
    path.write_text(f"[{json.dumps(row(track='before'))}, {bad}, {json.dumps(row(track='after'))}]")
    sink = ListSink()
    receipt = run(path, sink=sink)
    assert [e.track_name for e in sink.events] == ["before", "after"]
    assert (receipt.read, receipt.refused, receipt.damaged) == (3, 1, [])
    [refused] = Path(str(receipt.refused_file)).read_text(encoding="utf-8").splitlines()
    assert reason in json.loads(refused)["reason"]
    assert "2021-04-22 05:41" in refused


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "StreamingHistory0.json"
    path.write_text(json.dumps([row(), row(track="Motörhead")], ensure_ascii=False), encoding="utf-8-sig")
    assert run(path).produced == 2
    path.write_text(json.dumps([row()]), encoding="utf-16")
    [file] = run(path).damaged
    assert "save the file as UTF-8" in str(file.damaged)


def test_reasons_are_counted_by_what_is_wrong(tmp_path: Path) -> None:
    rows = [row(played=-n) for n in range(1, 5)] + [row(end=f"it's {n}") for n in range(3)] + [row(artist="")] * 2
    receipt = run(write(tmp_path / "StreamingHistory0.json", rows))
    assert sorted(receipt.reasons.values()) == [2, 3, 4]


def test_different_reasons_are_told_apart(tmp_path: Path) -> None:
    receipt = run(write(tmp_path / "StreamingHistory0.json", [row(end="soon"), row(end="2099-01-01 00:00")]))
    assert len(receipt.reasons) == 2


# -- identical rows -----------------------------------------------------------------------------------------------


def test_identical_rows_of_one_minute_are_plays_of_their_own(tmp_path: Path) -> None:
    found = imported(write(tmp_path / "StreamingHistory0.json", [row(), row(track="between"), row()]))
    assert len(set(ids(found))) == 3


def test_identical_rows_far_apart_and_out_of_order(tmp_path: Path) -> None:
    rows = [row(), row(end="2021-04-30 05:41"), row(), row(end="2021-04-01 05:41"), row()]
    assert len(set(ids(imported(write(tmp_path / "StreamingHistory0.json", rows))))) == 5


def test_a_copy_of_a_file_of_one_minute(tmp_path: Path) -> None:
    write(tmp_path / "StreamingHistory0.json", [row(), row()])
    shutil.copy(tmp_path / "StreamingHistory0.json", tmp_path / "StreamingHistory0 copy.json")
    assert len(set(ids(imported(tmp_path)))) == 2


def test_identical_rows_across_a_file_boundary(tmp_path: Path) -> None:
    early, late = row(end="2021-04-01 00:00"), row(end="2021-05-01 00:00")
    write(tmp_path / "two" / "StreamingHistory0.json", [early, row(), row()])
    write(tmp_path / "two" / "StreamingHistory1.json", [row(), late])
    write(tmp_path / "one" / "StreamingHistory0.json", [early, row(), row(), row(), late])
    two, one = imported(tmp_path / "two"), imported(tmp_path / "one")
    assert len(set(ids(two))) == 5
    assert ids(two) == ids(one)


def test_copies_of_a_file_in_one_folder_are_no_further_plays(tmp_path: Path) -> None:
    rows = [row(end=f"2021-04-{day:02} 05:41") for day in range(1, 20) for _ in range(2)]
    once = imported(write(tmp_path / "StreamingHistory0.json", rows))
    for name in ("StreamingHistory0 (1).json", "StreamingHistory0 copy.json"):
        shutil.copy(tmp_path / "StreamingHistory0.json", tmp_path / name)
    thrice = imported(tmp_path)
    assert len(thrice) == 3 * len(once)
    assert set(ids(thrice)) == set(ids(once))


def test_a_file_named_twice_is_no_further_listening(tmp_path: Path) -> None:
    path = write(tmp_path / "StreamingHistory0.json", [row()])
    assert set(ids(imported(path, path))) == set(ids(imported(path)))
    assert set(ids(imported(tmp_path, path))) == set(ids(imported(path)))


def test_overlapping_exports_in_two_folders_give_the_same_ids(tmp_path: Path) -> None:
    rows = [row(end=f"2021-04-{day:02} 05:41") for day in range(1, 29) for _ in range(2)]
    old = imported(write(tmp_path / "old" / "StreamingHistory0.json", rows[:40]))
    new = imported(write(tmp_path / "new" / "StreamingHistory0.json", rows[20:]))
    assert set(ids(old)) & set(ids(new)) == set(ids(old)[20:])
    assert set(ids(imported(tmp_path))) == set(ids(old)) | set(ids(new))


def test_a_user_reads_the_tenth_file_after_the_second(tmp_path: Path) -> None:
    for number in (10, 2, 0, 1):
        write(tmp_path / f"StreamingHistory{number}.json", [row(track=str(number))])
    assert [event.track_name for event in imported(tmp_path)] == ["0", "1", "2", "10"]


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("StreamingHistory0.json", True),
        ("StreamingHistory_music_12.json", True),
        ("StreamingHistory_podcast_0.json", True),
        ("streaminghistory3.JSON", True),
        ("Streaming_History_Audio_2020.json", False),
        ("._StreamingHistory0.json", False),
        ("StreamingHistory0.json.part", False),
        ("Playlist1.json", False),
    ],
)
def test_names_of_history_files(name: str, fits: bool) -> None:
    assert AccountExport().matches(name) is fits


# -- files --------------------------------------------------------------------------------------------------------


def test_a_truncated_file_is_marked_and_what_came_before_is_kept(tmp_path: Path) -> None:
    whole = write(tmp_path / "a" / "StreamingHistory0.json", [row(track=f"track {n}") for n in range(100)])
    text = whole.read_text()
    whole.write_text(text[: text.index("track 40") + 3])
    write(tmp_path / "a" / "StreamingHistory1.json", [row(track="of the next file")])
    sink = ListSink()
    receipt = run(tmp_path / "a", sink=sink)
    assert [e.track_name for e in sink.events] == [*(f"track {n}" for n in range(40)), "of the next file"]
    assert [Path(f.file).name for f in receipt.damaged] == ["StreamingHistory0.json"]
    assert receipt.complete


@pytest.mark.parametrize("content", ["", "null", "5", "{}", '{"a": 1}', json.dumps({"item": row()}), "<html>", "[1"])
def test_a_file_that_is_no_list_of_rows_is_damaged(tmp_path: Path, content: str) -> None:
    path = tmp_path / "StreamingHistory0.json"
    path.write_text(content)
    receipt = run(path)
    assert receipt.damaged
    assert receipt.produced == 0


def test_a_zip(tmp_path: Path) -> None:
    path = tmp_path / "my_spotify_data.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in (10, 9):
            archive.writestr(
                f"Spotify Account Data/StreamingHistory{number}.json", json.dumps([row(track=f"{number}")])
            )
        archive.writestr("__MACOSX/Spotify Account Data/StreamingHistory1.json", b"\x00\x05\x16\x07 resource fork")
        archive.writestr("Spotify Account Data/Playlist1.json", "{}")
    receipt = run(path)
    assert [(f.read, f.damaged) for f in receipt.files] == [(1, None), (1, None)]
    assert [event.track_name for event in imported(path)] == ["9", "10"]
    assert [event.track_name for event in imported(tmp_path)] == ["9", "10"]  # found in a folder, too


def test_a_zip_gives_the_same_ids_as_its_files(tmp_path: Path) -> None:
    file = write(tmp_path / "StreamingHistory0.json", [row(), row()])
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.write(file, "MyData/StreamingHistory0.json")
    assert ids(imported(tmp_path / "x.zip")) == ids(imported(file))


def test_a_zip_whose_names_begin_with_a_dot(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("./MyData/StreamingHistory0.json", json.dumps([row()]))
    assert len(imported(tmp_path / "x.zip")) == 1


def test_a_damaged_member_of_a_zip(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("StreamingHistory0.json", json.dumps([row(track="first name")]))
        archive.writestr("StreamingHistory1.json", json.dumps([row(track="other")]))
    path.write_bytes(path.read_bytes().replace(b"first name", b"forged one", 1))
    receipt = run(path)
    assert [bool(f.damaged) for f in receipt.files] == [True, False]


def test_an_encrypted_zip(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("StreamingHistory0.json", json.dumps([row()]))
    data = bytearray(path.read_bytes())
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(header) + flags] |= 1
    path.write_bytes(data)
    receipt = run(path)
    assert receipt.files[0].damaged is not None
    assert "encrypted" in receipt.files[0].damaged


def refusal(*paths: Path) -> str:
    with pytest.raises(UsageError) as caught:
        run(*paths)
    assert not Path("receipts").exists(), "nothing was read, so there is nothing to give a receipt for"
    return str(caught.value)


def test_a_zip_without_history(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("one.jpg", b"")
    assert "holds no listening history" in refusal(tmp_path / "photos.zip")


def test_a_zip_that_was_not_downloaded_whole(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "whole.zip", "w") as archive:
        archive.writestr("StreamingHistory0.json", json.dumps([row()] * 100))
    data = (tmp_path / "whole.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(data[: len(data) // 2])
    assert "not a whole zip" in refusal(tmp_path / "cut.zip")


def test_other_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    assert "no listening history that playlake knows" in refusal(tmp_path / "notes.txt")
    assert "holds no listening history" in refusal(tmp_path)
    assert "does not exist" in refusal(tmp_path / "nowhere")


def test_one_wrong_path_stops_all(tmp_path: Path) -> None:
    good = write(tmp_path / "StreamingHistory0.json", [row()])
    assert "does not exist" in refusal(good, tmp_path / "nowhere")


def test_the_extended_history_is_named(tmp_path: Path) -> None:
    path = tmp_path / "Streaming_History_Audio_2020_0.json"
    path.write_text("[]")
    assert "extended streaming history" in refusal(path)
    assert "extended streaming history" in refusal(tmp_path)


def test_history_that_is_not_read_stands_in_the_receipt(tmp_path: Path) -> None:
    write(tmp_path / "StreamingHistory0.json", [row()])
    write(tmp_path / "Streaming_History_Audio_2020_0.json", [{}] * 3)
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as archive:
        archive.writestr("my_spotify_data.zip", b"PK")
        archive.writestr("Playlist1.json", b"{}")
    assert "zip inside a zip" in refusal(tmp_path / "outer.zip")
    receipt = run(tmp_path)
    assert receipt.produced == 1
    assert {Path(f).name: why.split(",")[0].split(";")[0] for f, why in receipt.ignored.items()} == {
        "Streaming_History_Audio_2020_0.json": "extended streaming history",
        "outer.zip!my_spotify_data.zip": "a zip inside a zip",
    }


EXTENDED = {"ts": "2021-11-15T13:41:44Z", "ms_played": 82932, "master_metadata_track_name": "Song"}
LISTEN = {"listened_at": 1749780612, "track_metadata": {"track_name": "Song", "artist_name": "Band"}}
LASTFM = [
    {"track": [{"artist": {"#text": "Band"}, "name": "Song", "date": {"uts": "1749776100"}}], "@attr": {"page": "1"}}
]
KINDS = [
    ("endsong_0.json", json.dumps([EXTENDED]), "extended streaming history"),
    ("anything.txt", json.dumps([{}, EXTENDED]), "extended streaming history"),
    ("streaming_history_audio_2021.json", "[]", "extended streaming history"),
    ("podcasts.json", json.dumps([{"endTime": "2024-09-01 10:11", "podcastName": "A", "msPlayed": 1}]), "a podcast"),
    ("6.jsonl", json.dumps(LISTEN) + "\n" + json.dumps(LISTEN), "ListenBrainz history"),
    ("someone_lb-2024-01-01.json", json.dumps([LISTEN]), "ListenBrainz history"),
    ("recenttracks.json", json.dumps(LASTFM), "Last.fm history"),
    ("scrobbles.csv", "uts,utc_time,artist,artist_mbid\n1749776100,x,y,z\n", "Last.fm history"),
    ("user.csv", 'Band,LP,Song,"13 Jun 2025 00:55"\n', "Last.fm history"),
    ("maloja.json", json.dumps({"maloja": {}, "scrobbles": []}), "a Maloja export"),
    ("history.json.gz", gzip.compress(b"[]", mtime=0).decode("latin-1"), "packed with gzip"),
    ("lastfm.json", json.dumps({"recenttracks": {"track": [], "@attr": {}}}), "Last.fm history"),
    (
        "recent.json",
        json.dumps({"items": [{"track": {}, "played_at": "2024-01-01T00:00:00Z"}]}, indent=1),
        "Spotify's API",
    ),
    ("recent_rows.json", json.dumps([{"track": {}, "played_at": "2024-01-01T00:00:00Z"}]), "Spotify's API"),
    ("watch-history.json", json.dumps([{"header": "YouTube Music", "title": "Watched x"}]), "YouTube history"),
    ("plays.csv", "endTime,artistName,trackName,msPlayed\n2024-01-01 00:00,a,b,1\n", "a table of plays"),
    ("Apple Music Play Activity.csv", '"Artist Name","Song Name","Play Duration"\na,b,1\n', "a table of plays"),
    ("history.part", json.dumps([row()]), "does not end in .json"),
]


@pytest.mark.parametrize(("name", "content", "what"), KINDS)
@pytest.mark.parametrize("packed", [False, True])
def test_history_that_is_not_read_is_named_by_its_content(
    tmp_path: Path, name: str, content: str, what: str, packed: bool
) -> None:
    data = content.encode("latin-1" if name.endswith(".gz") else "utf-8")
    if packed:
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            archive.writestr(f"My Data/{name}", data)
        label = f"{tmp_path}/x.zip!My Data/{name}"
    else:
        (tmp_path / name).write_bytes(data)
        label = f"{tmp_path}/{name}"
    told = refusal(tmp_path)
    assert f"{label} is " in told
    assert what in told
    write(tmp_path / "StreamingHistory0.json", [row()])
    receipt = run(tmp_path)
    assert receipt.produced == 1
    assert what in receipt.ignored[label]


def test_a_packed_file_with_the_name_of_history_is_named_as_packed(tmp_path: Path) -> None:
    (tmp_path / "StreamingHistory0.json").write_bytes(gzip.compress(b"[]", mtime=0))
    assert [f.damaged for f in run(tmp_path).files] == ["packed with gzip; unpack it first"]


def test_other_files_of_an_export_are_no_history(tmp_path: Path) -> None:
    write(tmp_path / "StreamingHistory0.json", [row()])
    for name, text in (
        ("Playlist1.json", '{"playlists": []}'),
        ("Follow.json", "{}"),
        ("a.csv", "artist,born\n"),
        ("Read_Me_First.pdf", "%PDF-"),
    ):
        (tmp_path / name).write_text(text)
    assert run(tmp_path).ignored == {}


def test_account_data_by_another_name_is_read(tmp_path: Path) -> None:
    assert len(imported(write(tmp_path / "my listening 2024.json", [row()]))) == 1


# -- imports that bring nothing, or two people's plays -----------------------------------------------------------


PODCAST = {"endTime": "2024-09-01 10:11", "podcastName": "A", "episodeName": "1", "msPlayed": 1}


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([], "the history files have no rows"),
        ([PODCAST] * 3, "all 3 rows were refused: a podcast episode, which is not imported yet (3)."),
        ([row(played=-1), row(artist=""), PODCAST, EXTENDED, []], "and 2 more reasons"),
    ],
)
def test_an_import_that_takes_nothing_says_why(tmp_path: Path, rows: list[Row], told: str) -> None:
    [problem] = run(write(tmp_path / "StreamingHistory0.json", rows)).problems()
    assert problem.startswith("Nothing was imported: ")
    assert told in problem


def test_an_import_that_takes_something_has_no_problem(tmp_path: Path) -> None:
    path = write(tmp_path / "StreamingHistory0.json", [row(), PODCAST])
    assert run(path).problems() == []
    assert run(path, known=ids(imported(path))).problems() == []


def year(artist: str, minute: int) -> list[Row]:
    return [row(f"2024-{1 + day // 28:02}-{1 + day % 28:02} 10:{minute:02}", artist) for day in range(0, 330, 3)]


@pytest.mark.parametrize(
    "names", [("a/StreamingHistory0.json", "b/StreamingHistory0.json"), ("StreamingHistory0.json",) * 2]
)
def test_two_peoples_plays_of_the_same_time_are_told(tmp_path: Path, names: tuple[str, str]) -> None:
    one = write(tmp_path / "one" / names[0], year("Band", 1))
    other = write(tmp_path / "other" / names[1], year("Choir", 2)[50:])
    [told] = run(tmp_path).overlaps
    assert str(one) in told
    assert str(other) in told
    assert "(2024-06-11 to 2024-12-20)" in told
    assert "PLAYLAKE_LISTENER" in told


def test_copies_and_parts_of_one_history_are_no_overlap(tmp_path: Path) -> None:
    rows = year("Band", 1)
    write(tmp_path / "StreamingHistory0.json", rows[:50])
    write(tmp_path / "StreamingHistory1.json", rows[49:])
    write(tmp_path / "copy" / "StreamingHistory0.json", rows)
    write(tmp_path / "later" / "StreamingHistory0.json", [*rows[30:], row("2025-01-01 10:00")])
    assert run(tmp_path).overlaps == []


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_two_entries_of_one_name_are_both_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        for track in ("one", "two"):
            archive.writestr("StreamingHistory0.json", json.dumps([row(track=track)]))
    assert [e.track_name for e in imported(tmp_path / "export.zip")] == ["one", "two"]


@pytest.mark.parametrize("user", ["", "  ", "x" * 5000])
def test_a_listener_has_a_name(tmp_path: Path, user: str) -> None:
    with pytest.raises(UsageError, match="--user"):
        run(write(tmp_path / "StreamingHistory0.json", [row()]), user=user)


def test_a_receipt_is_for_its_owner_only(tmp_path: Path) -> None:
    receipt = run(write(tmp_path / "StreamingHistory0.json", [row()]))
    assert Path(str(receipt.receipt_file)).parent.stat().st_mode & 0o077 == 0


# -- the receipt --------------------------------------------------------------------------------------------------


def test_what_the_lake_has_is_counted_and_not_sent(tmp_path: Path) -> None:
    path = write(tmp_path / "StreamingHistory0.json", [row(track=str(n)) for n in range(5)])
    first = imported(path)
    sink = ListSink()
    receipt = run(path, known=ids(first)[:3], sink=sink)
    assert (receipt.read, receipt.produced, receipt.same) == (5, 2, 3)
    assert ids(sink.events) == ids(first)[3:]


def test_the_receipt_is_written(tmp_path: Path) -> None:
    receipt = run(write(tmp_path / "StreamingHistory0.json", [row(), row(played=-1)]))
    assert receipt.receipt_file is not None
    written = json.loads(Path(receipt.receipt_file).read_text(encoding="utf-8"))
    assert written == receipt.as_dict()
    assert written["complete"]
    assert (written["read"], written["produced"], written["refused"]) == (2, 1, 1)


def test_a_receipt_of_files_with_odd_names(tmp_path: Path) -> None:
    folder = tmp_path / b"caf\xe9".decode("utf-8", "surrogateescape")  # a name that is not UTF-8
    receipt = run(write(folder / "StreamingHistory0.json", [row(), row(played=-1)]).parent)
    assert (receipt.produced, receipt.refused) == (1, 1)


class FailingSink(ListSink):
    """A broker that goes down: it acknowledges once, and never again."""

    def flush(self) -> None:
        super().flush()
        if self.flushes > 1:
            raise UnavailableError("the broker is gone")


def test_rows_that_were_not_acknowledged_stand_in_the_receipt(tmp_path: Path) -> None:
    write(tmp_path / "StreamingHistory0.json", [row()] * 3)
    write(tmp_path / "StreamingHistory1.json", [row(end="2021-05-01 00:00")] * 4)
    with pytest.raises(UnavailableError):
        run(tmp_path, sink=FailingSink())
    [path] = Path("receipts").glob("*.json")
    written = json.loads(path.read_text())
    assert not written["complete"]
    assert (written["read"], written["produced"], written["unsettled"]) == (7, 3, 4)


GOOD = st.builds(
    row,
    end=st.datetimes(datetime(2000, 1, 1), datetime(2025, 1, 1)).map(lambda at: f"{at:%Y-%m-%d %H:%M}"),
    artist=st.sampled_from(["A", "B", "Ü'\x00"]),
    played=st.integers(0, 2**53 - 1),
)
BAD = st.none() | st.integers(-9, 9) | st.text(max_size=5) | st.builds(row, played=st.sampled_from([-1, 0.5, None]))


@h(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.tuples(st.booleans(), GOOD, BAD), max_size=12), min_size=1, max_size=3), st.data())
def test_every_row_is_accounted_for(files: list[list[tuple[bool, Row, Row]]], data: st.DataObject) -> None:
    rows = [[good if fine else bad for fine, good, bad in file] for file in files]
    with tempfile.TemporaryDirectory() as name:
        for number, content in enumerate(rows):
            write(Path(name) / f"StreamingHistory{number}.json", content)
        everything = ids(imported(Path(name)))
        known = data.draw(st.sets(st.sampled_from(everything))) if everything else set()
        sink = ListSink()
        receipt = run(Path(name), known=known, sink=sink)
    assert receipt.read == sum(map(len, rows)) == receipt.produced + receipt.same + receipt.refused
    assert receipt.refused == sum(not fine for file in files for fine, _, _ in file) == sum(receipt.reasons.values())
    assert receipt.same == sum(one in known for one in everything)
    assert ids(sink.events) == [one for one in everything if one not in known]


# -- size ---------------------------------------------------------------------------------------------------------


class MeasuringSink:
    """Keeps nothing; measures the memory in use until the 5,000th event, and counts objects from there on."""

    def __init__(self) -> None:
        self.count = self.flushes = self.peak = self.objects = self.grown = 0

    def send(self, topic: str, key: str, value: bytes | None) -> None:
        self.count += 1
        if self.count == 5_000:
            _, self.peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()  # tracing is slow, and what is read at once has been read by now
            self.objects = sys.getallocatedblocks()

    def flush(self) -> None:
        self.flushes += 1
        if self.objects:
            self.grown = max(self.grown, sys.getallocatedblocks() - self.objects)


def test_a_large_file_is_not_held_in_memory(tmp_path: Path) -> None:
    path, rows, start = tmp_path / "StreamingHistory0.json", 200_000, datetime(2020, 1, 1)
    with path.open("w") as file:
        for day in range(0, 200, 2):
            one = json.dumps(row(f"{start + timedelta(days=day):%Y-%m-%d %H:%M}", "Band", "Song of some length " * 2))
            file.write(("," if day else "[") + ",\n".join([one] * (rows // 100)))
        file.write("]")
    sink = MeasuringSink()
    tracemalloc.start()
    try:
        receipt = import_history(
            [path],
            user_id="me",
            sink=lambda: sink,
            known=lambda _: frozenset(),
            book=lambda receipt: ReceiptBook.in_folder(receipt, tmp_path / "receipts"),
        )
    finally:
        tracemalloc.stop()
    assert receipt.produced == sink.count == rows
    assert sink.flushes >= rows / 10_000  # acknowledged in portions
    assert 0 < sink.peak < path.stat().st_size / 10
    assert sink.grown < rows / 10


def test_occurrences_are_counted_within_a_day_however_long_the_history(tmp_path: Path) -> None:
    start, rows = datetime(2020, 1, 1), []
    for minute in range(53_000):
        one = row(f"{start + timedelta(minutes=minute):%Y-%m-%d %H:%M}")
        rows += [one] * (2 if minute > 49_000 else 1)
        if minute > 50_000 and minute % 100 == 0:
            rows.append(rows[-600])  # out of order, some hours late
    with write(tmp_path / "StreamingHistory0.json", rows).open("rb") as file:
        found = [o.event_id for o in AccountExport().read(file, "me") if isinstance(o, events.Event)]
    assert len(set(found)) == len(found) == len(rows)
