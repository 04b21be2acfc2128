"""The evaluation's arithmetic: splits that keep the future out, metrics by hand, intervals, baselines, files."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from playlake.errors import PlaylakeError, UsageError
from playlake.recommend.evaluation import baselines, file
from playlake.recommend.evaluation.bootstrap import paired
from playlake.recommend.evaluation.interactions import Plays
from playlake.recommend.evaluation.metrics import coverage, measured
from playlake.recommend.evaluation.run import OUR_GRID, evaluate, our_ranking, tuned_ours
from playlake.recommend.evaluation.split import SPLITS, Fold, divided

START = datetime(2026, 1, 1, tzinfo=UTC)


def quiet(_text: str) -> None:
    pass


def plays_of(*heard: tuple[str, str]) -> Plays:
    """Plays, an hour apart, in the order given."""
    return Plays.of(
        pa.table(
            {
                "user_id": [user for user, _ in heard],
                "track_id": [track for _, track in heard],
                "played_at": pa.array(
                    [START + timedelta(hours=n) for n in range(len(heard))], pa.timestamp("us", "UTC")
                ),
            }
        )
    )


def drawn(seed: int, plays: int = 400, users: int = 12, tracks: int = 30) -> Plays:
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, tracks + 1)
    chosen = rng.choice(tracks, plays, p=weights / weights.sum())
    return plays_of(*((f"u{u}", f"t{t}") for u, t in zip(rng.integers(0, users, plays), chosen, strict=True)))


def names(plays: Plays, fold: Fold) -> dict[str, set[str]]:
    return {
        plays.user_ids[int(u)].as_py(): {plays.track_ids[int(t)].as_py() for t in r}
        for u, r in zip(fold.users, fold.relevant, strict=True)
    }


# -- splits ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", SPLITS)
@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 30))
def test_what_is_to_be_guessed_is_new_and_known_and_never_learned_from(how: str, seed: int) -> None:
    plays = drawn(seed)
    folds = divided(plays, how, share=0.2, seed=seed)
    for fold in (folds.validation, folds.test):
        learned = set(zip(plays.users[fold.training], plays.tracks[fold.training], strict=True))
        catalogue, listeners = {t for _, t in learned}, {u for u, _ in learned}
        assert list(fold.users) == sorted(set(fold.users))
        for user, wanted in zip(fold.users, fold.relevant, strict=True):
            assert len(wanted) > 0
            assert user in listeners
            assert all(t in catalogue and (user, t) not in learned for t in wanted)
    # What the test asks for is nothing that parameters were chosen with.
    tried = {(u, t) for u, r in zip(folds.validation.users, folds.validation.relevant, strict=True) for t in r}
    asked = {(u, t) for u, r in zip(folds.test.users, folds.test.relevant, strict=True) for t in r}
    assert not tried & asked


def test_time_is_one_moment_for_all() -> None:
    plays = plays_of(*[("a", "x"), ("b", "y")] * 8, ("a", "y"), ("b", "z"), ("b", "x"), ("a", "z"))
    folds = divided(plays, "time", share=0.1)
    assert plays.times[folds.test.training].max() < plays.times[~folds.test.training].min()
    assert (folds.validation.training.sum(), folds.test.training.sum()) == (16, 18)
    assert names(plays, folds.validation) == {"a": {"y"}}  # z was not known to anybody yet
    assert names(plays, folds.test) == {"a": {"z"}, "b": {"x"}}


def test_last_leaves_out_each_listeners_last_new_track_and_all_after_it() -> None:
    # c has too few to be asked, and makes what the others are asked about known.
    heard = [("c", t) for t in "st"] + [("b", t) for t in "qrst"] + [("a", t) for t in "qrstq"] + [("b", "q")]
    plays = plays_of(*heard)
    folds = divided(plays, "last")
    assert names(plays, folds.test) == {"a": {"t"}, "b": {"t"}}
    assert names(plays, folds.validation) == {"a": {"s"}, "b": {"s"}}
    learned = [heard[n] for n in np.flatnonzero(folds.test.training)]
    assert learned == [("c", "s"), ("c", "t"), *((u, t) for u in "ba" for t in "qrs")]


def test_nothing_to_guess_is_told() -> None:
    with pytest.raises(PlaylakeError, match="nothing to guess"):
        divided(plays_of(*[("a", "x")] * 20), "time")
    for how in SPLITS:
        with pytest.raises(PlaylakeError, match="no plays"):
            divided(plays_of(), how)


# -- metrics -----------------------------------------------------------------------------------------------------------


def test_metrics_by_hand() -> None:
    ranking = np.full((3, 20), -1, np.int64)
    ranking[0, :3] = [5, 6, 7]
    ranking[1, :20] = np.arange(100, 120)
    found = measured(ranking, (np.array([6, 9]), np.array([112]), np.array([1])))
    ideal = 1 + 1 / math.log2(3)
    assert found["ndcg@10"] == pytest.approx([1 / math.log2(3) / ideal, 0, 0])
    assert found["hr@10"].tolist() == [1, 0, 0]
    assert found["recall@20"].tolist() == [0.5, 1, 0]
    assert coverage(ranking, 130) == pytest.approx(13 / 130)


def test_a_perfect_ranking_has_one() -> None:
    wanted = np.arange(15)
    found = measured(np.arange(20)[None, :], (wanted,))
    assert {k: v.tolist() for k, v in found.items()} == {"ndcg@10": [1.0], "hr@10": [1.0], "recall@20": [1.0]}


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(3)
    held = 0
    for seed in range(200):
        base = rng.random(150)
        difference, ratio = paired(base + rng.normal(0.1, 0.3, 150), base, samples=300, seed=seed)
        held += difference.low <= 0.1 <= difference.high
        assert ratio is not None
        assert ratio.low <= ratio.value <= ratio.high
    assert 180 <= held <= 198


def test_a_ratio_to_nothing_is_none() -> None:
    difference, ratio = paired(np.ones(5), np.zeros(5))
    assert ratio is None
    assert difference.low == difference.value == difference.high == 1
    assert paired(np.ones(5), np.ones(5), seed=1) == paired(np.ones(5), np.ones(5), seed=1)


# -- baselines ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", baselines.BASELINES)
def test_baselines_recommend_what_is_new_of_the_catalogue_without_repeats(name: str) -> None:
    plays = drawn(4, plays=300)
    fold = divided(plays, "time", share=0.2).test
    ranker, grid = baselines.BASELINES[name]
    ranking = ranker(plays, fold, grid[0])
    learned = set(zip(plays.users[fold.training], plays.tracks[fold.training], strict=True))
    catalogue = {t for _, t in learned}
    assert ranking.shape == (len(fold.users), 20)
    for user, row in zip(fold.users, ranking, strict=True):
        said = [t for t in row if t >= 0]
        assert said
        assert len(set(said)) == len(said)
        assert all(t in catalogue and (user, t) not in learned for t in said)


def test_popularity_counts_listeners_not_plays_and_recent_ones_only_lately() -> None:
    old = [("a", "x"), ("b", "x"), ("c", "x"), *[("a", "y")] * 9, ("b", "y")]
    late = [("c", "z"), ("b", "z"), ("c", "w"), ("d", "v"), ("d", "q")]
    plays = plays_of(*old, *late)
    fold = Fold(np.ones(len(plays), np.bool_), plays.numbered_users(pa.chunked_array([["d"]])), (np.array([0]),))

    def best(**parameters: Any) -> list[str]:
        row = baselines.popularity(plays, fold, parameters)[0]
        return [plays.track_ids[int(t)].as_py() for t in row if t >= 0]

    assert best() == ["x", "y", "z", "w"]
    assert best(days=5 / 24)[0] == "z"


def test_without_implicit_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(PlaylakeError, match="pip install"):
        baselines.require_implicit()


# -- the whole ---------------------------------------------------------------------------------------------------------


def oracle(plays: Plays, fold: Fold) -> Any:
    """Models of ours that know the future, unless a variable says otherwise."""

    def ours(training: pa.Array, variables: Any) -> pa.Table:
        assert training.to_pylist() == np.flatnonzero(fold.training).tolist()
        users, tracks, ranks = [], [], []
        for user, wanted in zip(fold.users, fold.relevant, strict=True):
            for rank, track in enumerate(wanted if variables.get("vote") != "bad" else [], 1):
                users.append(plays.user_ids[int(user)].as_py())
                tracks.append(plays.track_ids[int(track)].as_py())
                ranks.append(rank)
        return pa.table(
            {
                "user_id": pa.array(users, pa.string()),
                "track_id": pa.array(tracks, pa.string()),
                "rank": pa.array(ranks, pa.int64()),
            }
        )

    return ours


def test_an_oracle_wins_and_the_figures_say_so() -> None:
    plays = drawn(9)
    folds = divided(plays, "time", share=0.2)
    ways: dict[str, dict[str, Any]] = {"ours": {}, "bad": {"vote": "bad"}}
    found = evaluate(plays, folds, oracle(plays, folds.test), ways, quiet, with_implicit=False)
    assert [m.name for m in found.methods] == ["ours", "bad", "popularity", "recent popularity"]
    assert found.methods[0].figures["ndcg@10"] == found.methods[0].figures["hr@10"] == 1
    assert found.methods[1].figures["ndcg@10"] == 0
    by = {(c.ours, c.other): c for c in found.comparisons}
    assert len(by) == 4
    won = by["ours", "popularity"].ratio["ndcg@10"]
    assert won is not None
    assert won.low > 1
    assert by["bad", "popularity"].difference["ndcg@10"].high < 0


def test_variables_are_chosen_one_after_the_other_by_what_they_do_on_the_fold() -> None:
    plays = drawn(9)
    fold = divided(plays, "time", share=0.2).validation
    tried: list[dict[str, Any]] = []
    know = oracle(plays, fold)

    def ours(training: pa.Array, variables: Any) -> pa.Table:
        tried.append(dict(variables))
        return know(training, {"vote": "good" if variables["vote"] == "log" else "bad"})

    grid = (("vote", ("presence", "log")), ("artist_weight", (0, 1)))
    best = tuned_ours(plays, fold, ours, {"vote": "bad"}, quiet, grid)
    assert best == {"vote": "log"}
    assert tried[-1] == {"vote": "log", "artist_weight": 1}
    assert our_ranking(plays, fold, know, {}).shape == (len(fold.users), 20)


def test_the_grid_names_variables_of_the_project() -> None:
    import yaml

    from playlake.settings import ROOT

    project = yaml.safe_load((ROOT / "dbt" / "dbt_project.yml").read_text())
    assert {name for name, _ in OUR_GRID} <= set(project["vars"])


# -- files -------------------------------------------------------------------------------------------------------------


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "plays.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_file_with_times_of_both_kinds(tmp_path: Path) -> None:
    found = file.read(
        written(
            tmp_path,
            "\ufeffItem,time, user ,count,more\n"
            "x,0,ann,2,\n"
            '"y, or z",1970-01-01T01:00:00+01:00,bob,1.0,!\n'
            "\n"
            "x,1970-01-02,bob,3,\n",
        ),
        quiet,
    )
    assert found.timed
    assert found.refused == 0
    day = datetime(1970, 1, 1, tzinfo=UTC)
    assert found.rows.to_pylist() == [
        {"user_id": "ann", "track_id": "x", "played_at": day, "count": 2},
        {"user_id": "bob", "track_id": "y, or z", "played_at": day, "count": 1},
        {"user_id": "bob", "track_id": "x", "played_at": day + timedelta(days=1), "count": 3},
    ]


def test_bad_rows_are_refused_with_line_and_reason(tmp_path: Path) -> None:
    bad = ["ann,,1,0", "ann,x,many,0", "ann,x,1.5,0", "ann,x,0,0", "ann,x,1,", "ann,x,1,soon", "ann", "ann,x,1,1e300"]
    found = file.read(written(tmp_path, "user,item,count,time\nann,x,1,0\n" + "\n".join(bad)), quiet)
    assert found.rows.num_rows == 1
    assert found.refused == len(bad)
    assert found.reasons[0] == "line 3: no item"
    assert "line 4: count 'many' is no whole number" in found.reasons[1]
    assert len(found.reasons) == 5


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('"ann,x,1', 'a quote (") is not closed on its line'),
        ('ann,"x,1', 'a quote (") is not closed on its line'),
        ('"ann"a,x,1', "a quote (\") is closed before the field's end"),
        ('"' + "a" * 140_000 + '",x,1', "a field is longer"),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_a_stray_quote_costs_its_own_row_only(tmp_path: Path, row: str, reason: str, newline: str) -> None:
    lines = ["user,item,count", *(f"u{n},x,1" for n in range(100)), row, *(f'v{n},"x, ""y""",1' for n in range(100))]
    found = file.read(written(tmp_path, newline.join(lines)), quiet)
    assert found.rows.num_rows == 200
    assert found.refused == 1
    assert found.reasons[0].startswith(f"line 102: {reason}")
    assert found.rows["track_id"].to_pylist()[-1] == 'x, "y"'


def test_a_quote_within_a_field_is_part_of_it(tmp_path: Path) -> None:
    found = file.read(written(tmp_path, 'user,item,count\nann,12" mix,1\n'), quiet)
    assert (found.refused, found.rows["track_id"].to_pylist()) == (0, ['12" mix'])


ROWS = [("ann", "x", 2), ("bob", "y", 352_698)]


@pytest.mark.parametrize(
    ("header", "delimiter", "read_as"),
    [
        ("user,item,count", ",", ""),
        ("userID\tartistID\tweight", "\t", "user: userID, item: artistID, count: weight, parted by tabs"),
        ("user_id;track_id;play_count", ";", "user: user_id, item: track_id, count: play_count, parted by semicolons"),
        ("User Id|Song|Plays", "|", "user: User Id, item: Song, count: Plays, parted by bars"),
        ("listener,item,LISTENS", ",", "user: listener, item: item, count: LISTENS"),
        ("", "\t", "the first line names no columns; they were taken for user, item, count"),
    ],
)
def test_the_forms_that_people_have_are_read(tmp_path: Path, header: str, delimiter: str, read_as: str) -> None:
    lines = [header] * bool(header) + [delimiter.join(map(str, row)) for row in ROWS]
    found = file.read(written(tmp_path, "\n".join(lines)), quiet)
    assert [(r["user_id"], r["track_id"], r["count"]) for r in found.rows.to_pylist()] == ROWS
    assert (found.refused, found.timed, found.read_as) == (0, False, read_as)


def test_a_fourth_column_without_a_name_is_the_time(tmp_path: Path) -> None:
    found = file.read(written(tmp_path, "196\t242\t3\t881250949\n186\t302\t3\t891717742\n"), quiet)
    assert found.timed
    assert found.rows["user_id"].to_pylist() == ["196", "186"]


@pytest.mark.parametrize("header", ["user,item,count,item", "user;User;item;count", "user,item,count,time,Time"])
def test_a_column_named_twice_is_refused(tmp_path: Path, header: str) -> None:
    with pytest.raises(UsageError, match=r"names the column '.*' twice"):
        file.read(written(tmp_path, f"{header}\na,x,1,y\n"), quiet)


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("", UsageError, "user, item, count are missing"),
        ("who,what\n1,2", UsageError, "user, item, count are missing. It has 'who', 'what', parted by commas"),
        ("user;when\n1;2", UsageError, "item, count are missing. It has 'user', 'when', parted by semicolons"),
        ('user,"item,count\na,x,1\n', UsageError, "must name the columns user, item, count and.*is not closed"),
        ("user,item,count\n", PlaylakeError, "no rows after its first line"),
        ("user,item,count\na,b,c\n", PlaylakeError, "line 2: count 'c'"),
        (b"user,item,count\n\xff\xfe,b,1\n", PlaylakeError, "is not UTF-8 text. If it is packed, unpack it"),
    ],
)
def test_what_is_no_such_file_is_told(tmp_path: Path, text: str | bytes, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        file.read(written(tmp_path, text), quiet)
    with pytest.raises(UsageError, match="can't be read"):
        file.read(tmp_path / "no.csv", quiet)
