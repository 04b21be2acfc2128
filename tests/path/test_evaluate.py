"""`playlake evaluate` as a person types it: on a lake, on a file, and on what is neither."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Cli


@pytest.fixture(scope="module")
def of_the_lake(cli: Cli) -> Any:
    """What is found on 4,000 simulated plays; before, in the empty lake, that there are none."""
    assert "There are no plays" in cli("evaluate", "--without-implicit", check=1).err
    cli("simulate", "--plays", "4000", "--listeners", "60", "--days", "60")
    cli("land", "--until-idle")
    return cli.json("evaluate", "--share", "0.2")


def test_a_lake_is_evaluated_beside_all_others(of_the_lake: Any) -> None:
    assert of_the_lake["plays"] == 4000
    assert of_the_lake["split"] == "time"
    assert 0 < of_the_lake["training_plays"] <= 3200
    methods = {m["name"]: m for m in of_the_lake["methods"]}
    assert list(methods) == [
        "playlake", "popularity", "recent popularity", "implicit BM25", "implicit cosine", "implicit ALS",
    ]  # fmt: skip
    assert all(0 <= m[k] <= 1 for m in methods.values() for k in ("ndcg@10", "hr@10", "recall@20", "coverage"))
    # The listeners share tastes, so that even so few plays tell more than popularity does.
    assert methods["playlake"]["ndcg@10"] > methods["popularity"]["ndcg@10"] > 0
    assert methods["playlake"]["coverage"] > methods["popularity"]["coverage"]
    for c in of_the_lake["comparisons"]:
        found = c["difference"]["ndcg@10"]
        assert found["low"] <= found["value"] <= found["high"]
        assert found["value"] == pytest.approx(methods["playlake"]["ndcg@10"] - methods[c["other"]]["ndcg@10"])


def test_evaluating_changes_nothing(cli: Cli, of_the_lake: Any) -> None:
    assert not (cli.home / "warehouse" / "published").exists()
    assert not (cli.home / "warehouse" / "spotify_data.duckdb").exists()


def test_a_file_is_evaluated_without_a_stack(tmp_path: Path) -> None:
    rng = random.Random(3)
    path = tmp_path / "some plays.csv"
    counts = (1, 2, 352_698)  # plays as Last.fm counts them: rows by the hundred thousand were made of them
    rows = [f"u{rng.randrange(20)}\tt{min(int(rng.expovariate(0.1)), 60)}\t{rng.choice(counts)}" for _ in range(600)]
    path.write_text("\n".join(["userID\tartistID\tweight", *rows, "u1\t\t1", "u1\tt1\tx"]))
    done = Cli(tmp_path / "home")("evaluate", str(path), "--without-implicit")
    assert "user: userID, item: artistID, count: weight, parted by tabs" in done.err
    assert "split by random" in done.out
    assert "recent popularity" in done.out
    assert "refused line 602: no item" in done.err
    assert "2 rows were refused" in done.err


def test_what_was_refused_is_told_where_nothing_is_left_to_guess(tmp_path: Path) -> None:
    path = tmp_path / "plays.csv"
    path.write_text('user,item,count\na,x,1\nb,"x,1\n')
    for json in ((), ("--json",)):
        done = Cli(tmp_path / "home")("evaluate", str(path), "--without-implicit", *json, check=1)
        assert "nothing to guess" in done.err
        assert 'refused line 3: a quote (") is not closed on its line' in done.err
        assert "1 row was refused" in done.err


def test_misuse_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "plays.csv"
    path.write_text("user,item,count\na,x,1\n")
    cli = Cli(tmp_path / "home")
    for arguments, code, says in (
        (("nowhere.csv",), 2, "can't be read"),
        ((str(path), "--split", "odd"), 2, "is none of time, last, random"),
        ((str(path), "--split", "time"), 2, "has no such column"),
        ((str(path), "--vars", "[1"), 2, "are no variables"),
        ((str(path), "--vars", '{"baskett": "user"}'), 2, "'baskett' is no variable of dbt/dbt_project.yml: did you"),
        ((str(path), "--vars", '{"baskett": "user"}'), 2, "mean 'basket'?"),
        ((str(path), "--vars", '{"zzz": 1}'), 2, "'zzz' is no variable of dbt/dbt_project.yml, which lists them"),
        ((str(path), "--vars", '{"counts_as_play": "30s"}'), 2, "set PLAYLAKE_COUNTS_AS_PLAY"),
        ((str(path), "--vars", '{"published_build": 1}'), 2, "can't set published_build"),
        ((str(path),), 1, "nothing to guess"),
        ((), 1, "playlake up"),
    ):
        done = cli("evaluate", *arguments, "--without-implicit", check=code)
        assert says in " ".join(done.err.split())
