"""The stages of a build: together they are the whole project."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from playlake.settings import ROOT
from playlake.warehouse.stages import COMMANDS


def test_every_model_and_test_is_in_one_stage(tmp_path: Path) -> None:
    """Asked of dbt itself: the stages together select what the whole build runs, and nothing twice."""
    kinds = {"run": ("model",), "test": ("test",), "build": ("model", "test")}
    stages = [(kind, select) for command, *select in COMMANDS.values() for kind in kinds[command]]
    questions = [["--resource-type", kind, *select] for kind, select in [*stages, ("model", []), ("test", [])]]
    code = (
        "import json, sys\nfrom dbt.cli.main import dbtRunner\n"
        "ls = ['--quiet', 'ls', *sys.argv[2:]]\n"
        "print(json.dumps([dbtRunner().invoke([*ls, *select]).result for select in json.loads(sys.argv[1])]))"
    )
    places = {"--project-dir": ROOT / "dbt", "--profiles-dir": ROOT / "dbt", "--target-path": tmp_path}
    command = [sys.executable, "-c", code, json.dumps(questions), "--log-path", str(tmp_path)]
    done = subprocess.run(
        [*command, *(str(word) for pair in places.items() for word in pair)],
        capture_output=True,
        text=True,
        env={**os.environ, "DO_NOT_TRACK": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    *of_stages, models, tests = json.loads(done.stdout.splitlines()[-1])
    whole = [*models, *tests]
    assert sorted(node for stage in of_stages for node in stage) == sorted(whole)
    assert len(whole) > 100
