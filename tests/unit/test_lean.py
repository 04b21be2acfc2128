"""No command pays for pandas."""

from __future__ import annotations

import subprocess
import sys

USE = "import sys, duckdb, pyarrow as pa; pa.array([1]); duckdb.connect().execute('select ?', [1]).fetchall()"
LOOK = "print('pandas' in sys.modules)"
COMMAND = """
import sys
sys.argv = ["playlake", "--version"]
from playlake.cli import main
try:
    main()
except SystemExit:
    pass
"""


def said(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()[-1]


def test_pyarrow_and_duckdb_import_pandas_but_not_in_a_command() -> None:
    assert said(f"{USE}\n{LOOK}") == "True", "else what keeps it out can go"
    assert said(f"{COMMAND}\n{USE}\n{LOOK}") == "False"
