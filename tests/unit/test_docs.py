"""What is not documented fails: settings, commands, and what the README promises to be there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from playlake.settings import PREFIX, ROOT, Settings
from playlake.warehouse.snowflake import options as snowflake
from tests.support.commands import Cli
from tests.support.modules import module_at

NAMES = [f"{PREFIX}{name.upper()}" for name in Settings.model_fields]
NAMES += [f"{snowflake.PREFIX}{name.upper()}" for name in snowflake.Snowflake.model_fields]


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_in_both_lists(name: str) -> None:
    assert re.search(rf"^#{name}=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert f"| `{name}` |" in (ROOT / "docs" / "configuration.md").read_text()


def test_both_lists_are_what_the_settings_say_today() -> None:
    module = module_at(ROOT / "scripts" / "configuration.py")
    assert (ROOT / ".env.example").read_text() == module.dotenv()
    assert (ROOT / "docs" / "configuration.md").read_text() == module.markdown()


def test_the_readme_names_every_command(tmp_path: Path) -> None:
    commands = re.findall(r"^│ ([a-z]+) ", Cli(tmp_path / "home")("--help").out, re.MULTILINE)
    assert len(commands) >= 11
    readme = (ROOT / "README.md").read_text()
    assert [c for c in commands if f"playlake {c}" not in readme] == []


def test_make_alone_prints_a_help_with_every_public_target() -> None:
    printed = subprocess.run(
        ["make", "-C", str(ROOT), "--no-print-directory"], capture_output=True, text=True, check=True
    )
    targets = re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"demo", "test"} <= set(targets)
    for target in targets:
        assert f"make {target} " in printed.stdout


def test_every_link_inside_the_documents_leads_somewhere() -> None:
    documents = ("README.md", "SETUP.md", "CONTRIBUTING.md", "compose/README.md", "orchestration/README.md")
    for document in [*(ROOT / name for name in documents), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_every_variable_of_the_stack_is_documented() -> None:
    text = (ROOT / "compose" / "compose.yaml").read_text() + (ROOT / "scripts" / "stack.sh").read_text()
    names = set(re.findall(r"(?<!\$)\$\{([A-Z][A-Z0-9_]+)[:}-]", text)) - {"COMPOSE_PROFILES"}
    assert len(names) > 20
    readme = (ROOT / "compose" / "README.md").read_text()
    assert sorted(n for n in names if f"`{n}`" not in readme) == []


def test_every_dag_and_variable_of_the_orchestration_is_documented() -> None:
    dags = ROOT / "orchestration" / "dags"
    readme = (ROOT / "orchestration" / "README.md").read_text()
    names = [path.stem for path in dags.glob("*.py")]
    assert len(names) == 3
    variables = {v for path in dags.rglob("*.py") for v in re.findall(r"ORCHESTRATION_[A-Z_]+", path.read_text())}
    assert len(variables) == 3
    assert [n for n in [*names, *variables] if f"`{n}`" not in readme] == []
