"""The command line itself: what it says to wrong use, and that errors are JSON where JSON was asked for."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.support.commands import Cli

WRONG = [
    ("land", "--for", "soon"),
    ("land", "--for", "-5s"),
    ("land", "--for", "99999999999h"),
    ("dlq", "list", "--since", "20000000h"),
    ("lake", "compact", "--older-than", "99999999999h"),
    ("lake", "prune", "--older-than", "169h"),
    ("simulate", "--for", "5s"),
    ("simulate", "--plays", "0"),
    ("simulate", "--end", "yesterday"),
    ("nonsense",),
    ("land", "--nonsense"),
    ("import",),
    ("import", "no-such-file.json"),
    ("demo", "--history", "no-such-folder"),
    ("demo", "--user", " "),
]


LONG = "select count(*) from range(1000000000) as a(n), range(1000) as b(m) where (n * m) % 7 = 3"


def test_ctrl_c_in_a_query_is_an_interruption_and_no_bug(tmp_path: Path) -> None:
    """DuckDB makes an error of its own of it, and would run the query to its end when it is closed."""
    code = f"""
import sys, playlake.doctor
from playlake.cli import main
from playlake.settings import Settings
from playlake.warehouse import duck

def examine(_):
    with duck.connect(Settings(_env_file=None, s3_endpoint="http://127.0.0.1:1")) as connection:
        print("running", flush=True)
        connection.execute({LONG!r})

playlake.doctor.examine = examine
sys.argv = ["playlake", "doctor"]
main()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=Cli(tmp_path / "home").env,
        cwd=tmp_path,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    try:
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130, err
    assert err.startswith("playlake: Interrupted.")
