"""Put faults into the product, one at a time: the quick suite must find each (`make mutants`, docs/testing.md).

Each fault replaces text in files of the checkout, which must have no uncommitted changes; the tests named beside it are
run, and must fail; then the files are restored.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
LAKE = "platform/playlake/lake"


class Mutant(NamedTuple):
    """A fault: what is replaced in which file, and the tests that must find it."""

    name: str
    changes: Sequence[tuple[str, str, str]]
    tests: str


MUTANTS = (
    Mutant(
        "a commit without its application transaction",
        [(f"{LAKE}/commit.py", "for app, position in following.items()]", "for app, position in ()]")],
        "tests/path/test_guards.py tests/contract/test_log.py",
    ),
    Mutant(
        "reading from the group's committed offset instead of the table's",
        [
            (
                "platform/playlake/broker/consume.py",
                "self.read_on(self._on_assign([TopicPartition(p.topic, p.partition) for p in partitions]))",
                "self._on_assign([TopicPartition(p.topic, p.partition) for p in partitions])\n"
                "            client.assign(partitions)",
            ),
            (
                "platform/playlake/broker/consume.py",
                '"auto.offset.reset": "error"',
                '"auto.offset.reset": "earliest"',
            ),
        ],
        "tests/contract/test_broker.py",
    ),
    Mutant(
        "bronze before dead letters",
        [
            (
                f"{LAKE}/deliver.py",
                "    if bury:\n        bronze_table.append(no_rows, {apps[p]: places[apps[p]] for p in buried}"
                " | {b: before[b] for b in begun}, begun)\n",
                "    following = {apps[p]: following for p, following in batch.following.items()}\n"
                "    bronze_table.append(bronze_rows(), places | before, following | begun)\n"
                "    if bury:\n",
            ),
            (
                f"{LAKE}/deliver.py",
                "    bronze_table.append(\n        bronze_rows(),\n        places | before | begun,\n"
                "        {apps[p]: following for p, following in batch.following.items()},\n    )\n",
                "",
            ),
        ],
        "tests/path/test_judged_otherwise.py tests/path/test_guards.py",
    ),
    Mutant(
        "a conflict on the same partition let through",
        [(f"{LAKE}/table.py", "if self.position(app) != position:", "if self.position(app) == object():")],
        "tests/path/test_judged_otherwise.py tests/contract/test_log.py",
    ),
    Mutant(
        "compaction that leaves out one input file",
        [
            (
                f"{LAKE}/compact.py",
                'keys = [f"{folder}/{source.path}" for source in hour.files]',
                'keys = [f"{folder}/{source.path}" for source in hour.files[1:]]',
            ),
            (f"{LAKE}/compact.py", "(s.size for s in hour.files)", "(s.size for s in hour.files[1:])"),
            (f"{LAKE}/compact.py", "if None not in expected and rows !=", "if not rows and rows !="),
        ],
        "tests/path/test_compaction.py",
    ),
    Mutant(
        "an unknown field dropped",
        [(f"{LAKE}/drift.py", 'own["extra"] = events.extra_text(rest)', "rest.clear()")],
        "tests/unit/test_decode.py",
    ),
    Mutant(
        "an importer that leaves out the last row of a file",
        [
            (
                "platform/playlake/sources/exports/account.py",
                "for row in read_rows(file):",
                "for row in list(read_rows(file))[:-1]:",
            )
        ],
        "tests/unit/test_account_export.py",
    ),
    Mutant(
        "silver that keeps repeated event ids",
        [
            (
                "dbt/macros/events.sql",
                "partition by event_id order by _kafka_timestamp, _kafka_topic_id, _kafka_partition, _kafka_offset\n"
                "        ) = 1",
                "partition by event_id order by _kafka_timestamp, _kafka_topic_id, _kafka_partition, _kafka_offset\n"
                "        ) >= 1",
            )
        ],
        "tests/models",
    ),
    Mutant(
        "an incremental filter by max(played_at)",
        [
            (
                "dbt/models/silver/silver_events.sql",
                "where {{ newly_landed() }}\n",
                "where {% if is_incremental() %} played_at > (select max(played_at) from {{ this }})"
                " {% else %} true {% endif %}\n",
            )
        ],
        "tests/models",
    ),
    Mutant(
        "a merge of two plays of one source",
        [
            ("dbt/macros/merging.sql", "having min(source) <> max(source)", "having count(*) > 1"),
            (
                "dbt/macros/merging.sql",
                "order by spans.source_rank, spans.source\n",
                "order by spans.source_rank, spans.source, spans.event_id\n",
            ),
        ],
        "tests/models",
    ),
    Mutant(
        "publishing in place instead of by rename",
        [("platform/playlake/warehouse/publish.py", 'folder / f"CURRENT.{os.getpid()}"', 'folder / "CURRENT"')],
        "tests/unit/test_publish.py",
    ),
    Mutant(
        "a cache key without the build's version",
        [("platform/playlake/recommend/serving.py", "similar:{version}:{track_id}", "similar:{track_id}")],
        "tests/unit/test_recommender.py",
    ),
    Mutant(
        "`lake verify` that compares counts instead of offsets",
        [
            (
                f"{LAKE}/verify/rows.py",
                "        one = PartitionReport(\n",
                "        missing = max(0, len(offsets) - bronze - dead)\n"
                "        lost, pending = (0, missing) if pending else (missing, 0)\n"
                "        one = PartitionReport(\n",
            )
        ],
        "tests/path/test_verify_finds.py",
    ),
    Mutant(
        "a setting that contradicts another accepted",
        [("platform/playlake/settings.py", "            if p == q\n", "            if p == -q\n")],
        "tests/unit/test_settings.py",
    ),
)


def found(mutant: Mutant) -> str:
    """The first test that fails with the fault, or nothing."""
    before = {file: (ROOT / file).read_text() for file, *_ in mutant.changes}
    try:
        for file, old, new in mutant.changes:
            text = (ROOT / file).read_text()
            if old not in text:
                raise SystemExit(f"mutants: {file} has changed, and {mutant.name!r} no longer fits it: {old!r}")
            (ROOT / file).write_text(text.replace(old, new))
        command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", *mutant.tests.split()]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    finally:
        for file, text in before.items():
            (ROOT / file).write_text(text)
    failed = [line.split(" ")[1] for line in ran.stdout.splitlines() if line.startswith("FAILED ")]
    return failed[0] if failed else ""


def main() -> int:
    """Try the faults that the arguments name by a part of their names, or all."""
    if subprocess.run(["git", "diff", "--quiet"], cwd=ROOT, check=False).returncode:
        print("mutants: commit first; the files are changed and restored", file=sys.stderr)
        return 2
    chosen = [m for m in MUTANTS if not sys.argv[1:] or any(word in m.name for word in sys.argv[1:])]
    if not chosen:
        print(f"mutants: no fault has {' or '.join(sys.argv[1:])} in its name", file=sys.stderr)
        return 2
    survived = 0
    for mutant in chosen:
        by = found(mutant)
        survived += not by
        print(f"| {mutant.name} | {f'`{by}`' if by else 'NOT FOUND'} |", flush=True)
    return min(survived, 1)


if __name__ == "__main__":
    sys.exit(main())
