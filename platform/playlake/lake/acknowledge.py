"""Saying that a loss is known, so that `lake verify` tells of it and fails no longer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pyarrow as pa

from playlake.lake import tables
from playlake.lake.schema import KNOWN_GAPS
from playlake.lake.verify import PartitionReport
from playlake.settings import Settings


def acknowledge(settings: Settings, partitions: Sequence[PartitionReport]) -> None:
    """Write down, in one commit, that what has expired of these partitions is known.

    What expires later is not among it. Nothing of this is undone but by rolling the table back.

    :raises WriteFailedError: when the store failed.
    """
    now = datetime.now(UTC)
    rows = [
        (p.topic, p.topic_id, p.partition, first, following, now)
        for p in partitions
        for first, following in p.expired_ranges
    ]
    if rows:
        columns = zip(zip(*rows, strict=True), KNOWN_GAPS, strict=True)
        table = tables.known_gaps(settings)
        table.append(pa.Table.from_arrays([pa.array(v, f.type) for v, f in columns], schema=KNOWN_GAPS), {}, {})
