"""What neither DuckDB nor fakesnow would notice in the models' SQL, because DuckDB divides whole numbers into floats.

Snowflake makes decimals of them, six places after the last, which a contract of `double` refuses and which are not what
DuckDB says to the ninth place. Whether it takes a constant like 1.0e0 for a float its documentation does not say.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from playlake.settings import ROOT

FILES = sorted(p for d in ("models", "macros", "data-tests") for p in (ROOT / "dbt" / d).rglob("*.sql"))


def _statements(path: Path) -> str:
    return re.sub(r"--.*|\{#.*?#\}", "", path.read_text(), flags=re.MULTILINE)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_a_division_or_a_mean_is_of_floats_by_a_cast(path: Path) -> None:
    text = _statements(path)
    divisions = [line for line in text.splitlines() if re.search(r"[\w)] / [\w(]", line)]
    assert [line for line in divisions if "as double)" not in line] == []
    assert [m for m in re.findall(r"\bavg\((.{0,10})", text) if not m.startswith("cast(")] == []
    assert re.findall(r"\b\d+\.\d*e\d+\b", text) == []
