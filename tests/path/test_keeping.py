"""What keeps the warehouse up to date: the inbox, the rounds of `refresh`, and a feed that begins with a past."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.support.commands import Cli
from tests.support.exports import age, make_export


def test_the_inbox_is_imported_once_with_receipts_beside(cli: Cli, tmp_path: Path) -> None:
    box = tmp_path / "inbox"
    cli = cli.with_settings(inbox=box, listener="once")
    assert cli.json("inbox")["imported"] == []
    age(make_export(box / "export", 800))
    zipped = shutil.make_archive(str(box / "more"), "zip", make_export(tmp_path / "other", 300, seed=2))
    age(Path(zipped))
    (box / "holiday.jpg").write_bytes(b"\xff\xd8")
    age(box / "holiday.jpg")
    whole = json.loads((box / "export" / "StreamingHistory0.json").read_text("utf-8"))
    (box / "StreamingHistory9.json").write_text(json.dumps(whole[:50])[:-20])
    age(box / "StreamingHistory9.json")
    done = {i["name"]: i for i in cli("inbox", "--json", check=1).json["imported"]}
    assert (done["export"]["read"], done["export"]["produced"]) == (800, 800 - done["export"]["refused"])
    assert done["more.zip"]["read"] == 300
    assert "no listening history" in done["holiday.jpg"]["error"]
    assert (done["StreamingHistory9.json"]["read"], done["StreamingHistory9.json"]["damaged"]) == (49, 1)
    for name, what in done.items():
        receipt = json.loads((box / f"{name}.receipt.json").read_text())
        assert receipt.get("read", 0) == what["read"]
        assert receipt.get("error") == what["error"]
        if what["refused"]:
            refused = (box / f"{name}.refused.jsonl").read_text("utf-8").splitlines()
            assert len(refused) == what["refused"]
    assert cli.json("inbox")["imported"] == []
    cli("land", "--until-idle")
    (box / "export.receipt.json").unlink()
    again = cli.json("inbox")["imported"]
    assert [(i["name"], i["produced"], i["same"] + i["refused"]) for i in again] == [("export", 0, 800)]


def test_rounds_import_build_and_rest(own: Cli, tmp_path: Path) -> None:
    box = tmp_path / "inbox"
    cli = own.with_settings(inbox=box, listener="rounds")
    cli("land", "--until-idle")
    # Waiting for a build is content with an empty one; waiting for plays is not.
    version = cli.json("build")["version"]
    assert cli.json("wait", "--build", str(version))["plays"] == 0
    assert "has 0 plays" in cli("wait", "--for", "1s", check=1).err
    age(make_export(box / "export", 400))
    first = cli.json("refresh")
    assert [i["read"] for i in first["imported"]] == [400]
    assert first["built"] is None  # what was imported has not landed yet
    cli("land", "--until-idle")
    second = cli.json("refresh")
    assert second["imported"] == []
    assert second["built"]["silver"]["silver_plays"] > 300
    assert cli.json("wait")["plays"] == second["built"]["silver"]["silver_plays"]
    assert cli.json("refresh") == {"imported": [], "built": None}


def test_waiting_for_plays_has_an_end(tmp_path: Path) -> None:
    assert "nothing has been built yet" in Cli(tmp_path / "home")("wait", "--for", "1s", check=1).err


def test_a_feed_with_a_past_sends_it_once(own: Cli) -> None:
    feed = ("simulate", "--rate", "20", "--for", "2s", "--past", "--plays", "500", "--listeners", "5", "--days", "10")
    sent = own.json(*feed)["produced"]
    first = own.json("land", "--until-idle")["rows"]["user_plays"]
    assert first >= 500
    own(*feed)
    assert 0 < own.json("land", "--until-idle")["rows"]["user_plays"] < 500
    assert sent < 500
    assert "--past goes with --rate" in own("simulate", "--past", check=2).err
