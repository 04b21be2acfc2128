"""Setting up on machines that lack something: one line that says what."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("dirname", "uname", "cat", "cksum", "tr", "rm", "tail", "sh")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with the script in it, and an empty ``bin`` to be the whole PATH."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "checkout" / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "bootstrap.sh", tmp_path / "checkout" / "scripts")
    for tool in TOOLS:
        (tmp_path / "bin" / tool).symlink_to(str(shutil.which(tool)))
    return tmp_path / "checkout"


def program(checkout: Path, name: str, text: str) -> None:
    path = checkout.parent / "bin" / name
    path.unlink(missing_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def bootstrap(checkout: Path, *args: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        ["/bin/sh", "scripts/bootstrap.sh", *args],
        cwd=checkout,
        env={"PATH": str(checkout.parent / "bin"), "HOME": os.environ.get("HOME", "/")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done


def test_a_platform_without_wheels_is_sent_to_the_containers(checkout: Path) -> None:
    program(checkout, "uname", 'if [ "$1" = -s ]; then echo FreeBSD; else echo riscv64; fi')
    done = bootstrap(checkout, "run")
    assert done.returncode == 1
    assert "FreeBSD riscv64" in done.stderr
    assert "Compose" in done.stderr


def test_no_python(checkout: Path) -> None:
    done = bootstrap(checkout, "dev")
    assert done.returncode == 1
    assert "Python 3.11, 3.12 or 3.13 is needed" in done.stderr


def test_a_python_that_is_too_old_or_too_new_is_not_taken(checkout: Path) -> None:
    for name in ("python3", "python3.13"):
        program(checkout, name, "exit 1")  # what the check of its version ends with
    assert "is needed and was not found" in bootstrap(checkout).stderr


def test_a_python_without_venv(checkout: Path) -> None:
    program(checkout, "python3", 'case "$*" in *venv*) echo "no ensurepip"; exit 1 ;; *) echo "Python 3.12.9" ;; esac')
    done = subprocess.run(
        ["/bin/sh", "scripts/bootstrap.sh"],
        cwd=checkout,
        env={"PATH": str(checkout.parent / "bin")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "apt install python3-venv" in done.stderr.splitlines()[-1]
    assert "no ensurepip" in done.stderr


def test_wrong_use(checkout: Path) -> None:
    assert bootstrap(checkout, "everything").returncode == 2
