"""What compaction holds of a file at once."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from playlake.lake import rewriting
from playlake.lake.rewriting import _row_groups


def _file(groups: int, each: int) -> tuple[pq.ParquetFile, pa.Table]:
    rows = pa.table({"n": range(groups * each), "value": [f"{n:01000d}" for n in range(groups * each)]})
    made = pa.BufferOutputStream()
    pq.write_table(rows, made, row_group_size=each, use_dictionary=False)
    return pq.ParquetFile(pa.BufferReader(made.getvalue())), rows


def test_a_file_is_read_group_by_group() -> None:
    """Small in the store may be large in memory: all of it at once was what many dead letters of one text took."""
    file, rows = _file(groups=5, each=100)
    pieces = list(_row_groups(file))
    assert [len(piece) for piece in pieces] == [100] * 5
    assert pa.concat_tables(pieces).equals(rows)


def test_a_large_group_is_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewriting, "_GROUP", 20_000)
    file, rows = _file(groups=2, each=100)
    pieces = list(_row_groups(file))
    assert max(piece.nbytes for piece in pieces) < 30_000
    assert pa.concat_tables(pieces).equals(rows)


def test_a_row_that_is_larger_than_a_part_is_read_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewriting, "_GROUP", 10)
    file, rows = _file(groups=1, each=3)
    assert pa.concat_tables(_row_groups(file)).equals(rows)
