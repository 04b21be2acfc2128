"""The checkout's layout: its folders hide no module of the same name, and nothing in it names a package registry."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split("\0") if name]


@pytest.mark.parametrize("folder", ["platform", "dbt"])
def test_a_folder_named_like_a_module_is_no_package(folder: str) -> None:
    assert (ROOT / folder).is_dir()
    assert not (ROOT / folder / "__init__.py").exists()


@pytest.mark.parametrize(
    "code",
    [
        "import platform; assert platform.system()",
        "import dbt.version; assert dbt.version.__version__",
        "from dbt.cli.main import cli",
        "import playlake.settings; assert playlake.settings.ROOT",
    ],
)
def test_modules_are_found_from_the_checkout(code: str) -> None:
    # -c puts the working folder first on sys.path
    command = [sys.executable, "-c", f"import sys; assert sys.path[0] == ''; {code}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_orchestration_file_looks_like_dbt() -> None:
    assert [str(path) for path in (ROOT / "orchestration").rglob("dbt_*")] == []


def test_no_tracked_file_names_a_registry() -> None:
    hosts = [
        ".".join(parts).encode()
        for parts in (
            ("pypi", "org"),
            ("files", "pythonhosted", "org"),
            ("registry", "npmjs", "org"),
            ("repo1", "maven", "org"),
            ("repo", "maven", "apache", "org"),
            ("crates", "io"),
            ("deb", "debian", "org"),
        )
    ]
    names = tracked()
    assert "pyproject.toml" in names
    found = []
    for name in names:
        path = ROOT / name
        content = path.read_bytes().lower() if path.is_file() else b""
        found += [f"{name}: {host.decode()}" for host in hosts if b"\0" not in content and host in content]
    assert found == []


def test_the_locks_name_the_same_versions() -> None:
    """They are installed one after the other into one environment."""
    locks = [
        {name: sorted(found for n, found in pinned if n == name) for name, _ in pinned}
        for lock in ROOT.glob("requirements*.lock")
        if (pinned := re.findall(r"^([a-z0-9._-]+)==(\S+)", lock.read_text(), re.MULTILINE))
    ]
    assert len(locks) == 4
    for one, other in itertools.combinations(locks, 2):
        assert {n: v for n, v in one.items() if other.get(n, v) != v} == {}
