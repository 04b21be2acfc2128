"""The command evaluate: how good the recommendations are."""

from __future__ import annotations

import difflib
import json as jsonlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from playlake.cli.common import Json, load, out, progress, show, table, warn
from playlake.errors import PlaylakeError, UsageError
from playlake.paths import given_path

if TYPE_CHECKING:
    from playlake.recommend.evaluation import Evaluation
    from playlake.settings import Settings
    from playlake.warehouse.trial import Trial

app = typer.Typer()
AS_SET, TUNED = "playlake", "playlake, tuned"


@app.command()
def evaluate(
    file: Annotated[
        Path | None,
        typer.Argument(
            parser=given_path,
            metavar="[FILE]",
            help="A CSV file user,item,count[,time]; without one, what the lake holds.",
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="time (one moment for all), last (each listener's last new tracks), random; else what fits."),
    ] = None,
    share: Annotated[float, typer.Option(help="With time and random: how much is tested, 0.01 to 0.4.")] = 0.1,
    last: Annotated[int, typer.Option(help="With last: how many new tracks a listener.")] = 1,
    variables: Annotated[
        str, typer.Option("--vars", help="Variables of the dbt project that differ from its own, as JSON.")
    ] = "{}",
    tune: Annotated[bool, typer.Option("--tune", help="Also choose variables of ours on the validation part.")] = False,
    implicit: Annotated[bool, typer.Option("--with-implicit/--without-implicit", help="Compare with implicit.")] = True,
    seed: Annotated[int, typer.Option(help="Of the random split.")] = 7,
    json: Json = False,
) -> None:
    """How good the recommendations are, beside popularity and the package implicit (BM25, cosine, ALS)."""
    from playlake.recommend.evaluation import baselines
    from playlake.recommend.evaluation import split as splits
    from playlake.recommend.evaluation.interactions import Plays
    from playlake.recommend.evaluation.run import evaluate as measure
    from playlake.recommend.evaluation.run import tuned_ours
    from playlake.warehouse.trial import Trial

    if split is not None and split not in splits.SPLITS:
        raise UsageError(f"--split {split!r} is none of {', '.join(splits.SPLITS)}.")
    if not 0.01 <= share <= 0.4 or not 1 <= last <= 100:
        raise UsageError("--share must be from 0.01 to 0.4, --last from 1 to 100.")
    given = _variables(variables)
    if implicit:
        baselines.require_implicit()
    settings = load()
    with tempfile.TemporaryDirectory(prefix="playlake-evaluate-") as folder, progress() as say:
        trial = Trial(settings, Path(folder))
        source = _take(trial, settings, file, say)
        how = split or ("time" if source["timed"] else "random")
        if how != "random" and not source["timed"]:
            raise UsageError(f"--split {how} needs a time, and {file} has no such column. Take --split random.")
        plays = Plays.of(trial.plays())
        try:
            folds = splits.divided(plays, how, share=share, last=last, seed=seed)
        except PlaylakeError:
            _tell_refused(source)  # it may be why
            raise

        def ours(training: Any, chosen: Any) -> Any:
            return trial.recommend(training, 20, chosen, _counts_only(say))

        ways = {AS_SET: given}
        if tune:
            ways[TUNED] = tuned_ours(plays, folds.validation, ours, given, say)
        found = measure(plays, folds, ours, ways, say, with_implicit=implicit)
    data = {"source": source, "split": how, **_data(found)}
    if json:
        show(True, data, "")
        return
    _tell_refused(source)
    out.print(_shown(found, how))
    out.print(
        f"{found.listeners:,} listeners asked, {found.relevant:.1f} new tracks each, {found.catalogue:,} candidates,"
        f" {found.training_plays:,} of {found.plays:,} plays to learn from. In brackets: 95 % intervals over listeners."
    )


def _tell_refused(source: Mapping[str, Any]) -> None:
    for text in source["reasons"]:
        warn(f"refused {text}")
    if source["refused"]:
        rows = "row was" if source["refused"] == 1 else "rows were"
        warn(f"{source['refused']:,} {rows} refused.")


def _variables(text: str) -> dict[str, Any]:
    from playlake.warehouse.trial import FIXED, variables_of_the_project

    try:
        found = jsonlib.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UsageError(f'--vars {text[:60]!r} are no variables. Write them as JSON: {{"vote": "log"}}.')
    known = variables_of_the_project()
    for name in found:
        if name in FIXED:
            raise UsageError(f"--vars can't set {name}: {FIXED[name]}.")
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f": did you mean {near[0]!r}?" if near else ", which lists them."
            raise UsageError(f"--vars: {name[:60]!r} is no variable of dbt/dbt_project.yml{hint}")
    return found


def _take(trial: Trial, settings: Settings, file: Path | None, say: Callable[[str], None]) -> dict[str, Any]:
    """Give the plays to the trial; says where they came from."""
    if file is not None:
        from playlake.recommend.evaluation.file import read

        say(f"reading {file}")
        rows = read(file, say)
        if rows.read_as:
            warn(f"{file}: {rows.read_as}")
        trial.take_rows(rows.rows)
        return {
            "file": str(file),
            "timed": rows.timed,
            "refused": rows.refused,
            "reasons": rows.reasons,
            "read_as": rows.read_as,
        }
    from playlake.lake import tables

    settings.require_store()
    say("looking at the lake")
    versions = tables.snapshot(settings)
    trial.take_lake(versions, _counts_only(say))
    return {"versions": versions, "timed": True, "refused": 0, "reasons": []}


def _counts_only(say: Callable[[str], None]) -> Callable[[str], None]:
    """Of what dbt says, how far it is."""
    return lambda text: say(text) if text.startswith("models and tests") else None


def _data(found: Evaluation) -> dict[str, Any]:
    return {
        "plays": found.plays,
        "training_plays": found.training_plays,
        "listeners": found.listeners,
        "catalogue": found.catalogue,
        "relevant": found.relevant,
        "methods": [
            {"name": m.name, "parameters": m.parameters, **m.figures, "coverage": m.coverage} for m in found.methods
        ],
        "comparisons": [asdict(c) for c in found.comparisons],
    }


def _shown(found: Evaluation, how: str) -> Table:
    """One line a method; beside it how ours compares, by NDCG@10."""
    ours = {c.ours for c in found.comparisons}
    beside = {(c.ours, c.other): c for c in found.comparisons}
    names = [m.name for m in found.methods if m.name in ours]
    rows = []
    for m in found.methods:
        cells: list[object] = [m.name, *(f"{m.figures[k]:.4f}" for k in ("ndcg@10", "hr@10", "recall@20"))]
        cells.append(f"{m.coverage:.3f}")
        for name in names:
            comparison = beside.get((name, m.name))
            difference = comparison.difference["ndcg@10"] if comparison else None
            ratio = comparison.ratio["ndcg@10"] if comparison else None
            cells.append(
                f"{difference.value:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]" if difference else ""
            )
            cells.append(f"{ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]" if ratio else "")
        cells.append(", ".join(f"{k} {v}" for k, v in m.parameters.items()))
        rows.append(cells)
    columns = ["method", "NDCG@10", "HR@10", "Recall@20", "coverage"]
    for name in names:
        columns += [f"{name} minus it", f"{name} / it"]
    return table(*columns, "parameters", rows=rows, title=f"Recommendations, split by {how}")
