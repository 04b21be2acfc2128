"""`make up` used wrongly: one clear line each, told before Docker is asked for anything."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from playlake.settings import ROOT
from playlake.stack import ports

GOOD = {"S3_ACCESS_KEY": "lake", "S3_SECRET_KEY": "d41c6a9be0", "REDIS_PASSWORD": "77aa0b"}

PORTS = (
    *("KAFKA_PORT", "S3_PORT", "S3_CONSOLE_PORT", "REDIS_PORT", "API_PORT"),
    *("DASHBOARD_PORT", "AIRFLOW_PORT", "CONSOLE_PORT"),
)
AIRFLOW = ("AIRFLOW_DB_PASSWORD", "AIRFLOW_SECRET_KEY", "AIRFLOW_PASSWORD")


def up(
    tmp_path: Path, *, docker: str | None, env: dict[str, str] | None, command: str = "up", **variables: str
) -> tuple[int, str]:
    """Run the script with a `docker` that answers as told (its engine is away if None)."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in (
        "sh",
        "bash",
        "dirname",
        "id",
        "od",
        "tr",
        "sed",
        "tail",
        "df",
        "awk",
        "mv",
        "mkdir",
        "cat",
        "chown",
        "grep",
    ):
        found = subprocess.run(["sh", "-c", f"command -v {name}"], capture_output=True, text=True, check=True).stdout
        (programs / name).symlink_to(found.strip())
    if docker is not None:
        (programs / "docker").write_text(f"#!/bin/sh\n{docker}\n")
        (programs / "docker").chmod(0o755)
    file = tmp_path / "env"
    if env is not None:
        file.write_text("".join(f"{n}={v}\n" for n, v in env.items()))
    done = subprocess.run(
        [str(ROOT / "scripts" / "stack.sh"), command],
        env={"PATH": str(programs), "HOME": str(tmp_path), "STACK_ENV_FILE": str(file), **variables},
        capture_output=True,
        text=True,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


ENGINE = 'case "$*" in *DockerRootDir*) echo /;; *"ps -q"*) ;; *build*|*exec*) exit 9;; esac'


def test_no_docker(tmp_path: Path) -> None:
    code, said = up(tmp_path, docker=None, env=None)
    assert (code, said.count("\n")) == (1, 1)
    assert "`make demo`" in said


def test_docker_that_does_not_answer(tmp_path: Path) -> None:
    code, said = up(tmp_path, docker="exit 1", env=None)
    assert (code, said.count("\n")) == (1, 1)
    assert "does not answer" in said


@pytest.mark.parametrize("name", GOOD)
def test_a_missing_secret_is_named(tmp_path: Path, name: str) -> None:
    code, said = up(tmp_path, docker=ENGINE, env={**GOOD, name: ""})
    assert (code, said.count("\n")) == (2, 1)
    assert f": {name}." in said


def test_known_secrets_are_refused_outside_loopback(tmp_path: Path) -> None:
    code, said = up(tmp_path, docker=ENGINE, env={**GOOD, "S3_SECRET_KEY": "minioadmin"}, STACK_BIND="0.0.0.0")
    assert (code, said.count("\n")) == (2, 1)
    assert "S3_SECRET_KEY" in said
    assert "minioadmin" not in said


@pytest.mark.parametrize("name", AIRFLOW)
def test_a_missing_secret_of_airflow_is_named_where_airflow_is_wanted(tmp_path: Path, name: str) -> None:
    env = {**GOOD, **dict.fromkeys(AIRFLOW, "91f0c2"), name: ""}
    code, said = up(tmp_path, docker=ENGINE, env=env, PROFILES="ui,orchestration")
    assert (code, said.count("\n")) == (2, 1)
    assert f": {name}." in said


def test_a_profile_that_there_is_not(tmp_path: Path) -> None:
    code, said = up(tmp_path, docker=ENGINE, env=GOOD, PROFILES="airflow")
    assert (code, said.count("\n")) == (2, 1)
    assert "no profile airflow" in said
    assert "orchestration" in said


def test_a_secret_that_no_address_can_hold(tmp_path: Path) -> None:
    code, said = up(tmp_path, docker=ENGINE, env={**GOOD, "REDIS_PASSWORD": "p@ss/word"})
    assert (code, said.count("\n")) == (2, 1)
    assert "REDIS_PASSWORD" in said
    assert "p@ss" not in said


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"STACK_BIND": "localhost"}, "no IPv4 address"),
        ({"API_PORT": "abc"}, "API_PORT=abc is no port"),
        ({"API_PORT": "99999"}, "API_PORT=99999 is no port"),
        ({"API_PORT": "8501"}, "DASHBOARD_PORT=8501 is the port of another service"),
        ({"FEED": "off"}, "FEED=off"),
        ({"STACK_UID": "0"}, "STACK_UID=0 is root"),
        ({"STACK_MIN_FREE_MB": "much"}, "no number of MiB"),
    ],
    ids=lambda value: next(iter(value.items()), "") if isinstance(value, dict) else "",
)
def test_a_variable_that_compose_would_stumble_over(tmp_path: Path, wrong: dict[str, str], says: str) -> None:
    code, said = up(tmp_path, docker=ENGINE, env={**GOOD, "STACK_MIN_FREE_MB": "0", **wrong})
    assert (code, said.count("\n")) == (2, 1)
    assert says in said


def test_a_file_is_read_as_compose_reads_it(tmp_path: Path) -> None:
    env = {**GOOD, "STACK_BIND ": ' "0.0.0.0" # everybody', "REDIS_PASSWORD": "'short' # and known"}
    code, said = up(tmp_path, docker=ENGINE, env=env)
    assert code == 2
    assert "STACK_BIND=0.0.0.0" in said
    assert "REDIS_PASSWORD" in said


@pytest.mark.parametrize("profiles", ["orchestration ui", "orchestration,ui", " orchestration , ui "])
def test_profiles_with_blanks_or_commas(tmp_path: Path, profiles: str) -> None:
    engine = (
        f'case "$*" in *build*) echo "$COMPOSE_PROFILES" > {tmp_path}/chosen; exit 9;; *DockerRootDir*) echo /;; esac'
    )
    free = {n: str(p) for n, p in zip(PORTS, ports.choose(len(PORTS)), strict=True)}
    env = {**GOOD, **dict.fromkeys(AIRFLOW, "91f0c2"), **free, "STACK_MIN_FREE_MB": "0", "INBOX": f"{tmp_path}/inbox"}
    up(tmp_path, docker=engine, env=env, PROFILES=profiles)
    assert (tmp_path / "chosen").read_text().strip() == "orchestration,ui"


def test_a_new_file_beside_an_old_database(tmp_path: Path) -> None:
    engine = 'case "$*" in *"volume ls"*) echo playlake_metadata;; esac'
    code, said = up(tmp_path, docker=engine, env=None)
    assert (code, said.count("\n")) == (2, 1)
    assert "docker volume rm playlake_metadata" in said
    assert not (tmp_path / "env").exists()


def test_stopping_needs_no_secret(tmp_path: Path) -> None:
    engine = f'case "$*" in *down*) echo "$S3_SECRET_KEY" > {tmp_path}/down;; esac'
    code, said = up(tmp_path, docker=engine, env=None, command="down")
    assert (code, said) == (0, "")
    assert (tmp_path / "down").read_text() == "unused\n"


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, said = up(tmp_path, docker=ENGINE, env=GOOD, KAFKA_PORT=port, STACK_MIN_FREE_MB="0")
    assert (code, said.count("\n")) == (1, 1)
    assert f"Port {port} is taken" in said
    assert "KAFKA_PORT" in said


def test_an_inbox_that_compose_would_look_for_elsewhere(tmp_path: Path) -> None:
    code, said = up(tmp_path, docker=ENGINE, env={**GOOD, "INBOX": "drop"})
    assert (code, said.count("\n")) == (2, 1)
    assert "absolute path" in said


def test_too_little_disk(tmp_path: Path) -> None:
    code, said = up(tmp_path, docker=ENGINE, env=GOOD, STACK_MIN_FREE_MB="999999999")
    assert (code, said.count("\n")) == (1, 1)
    assert "Too little disk" in said


def test_an_environment_file_is_made_private_with_random_secrets(tmp_path: Path) -> None:
    up(tmp_path, docker=ENGINE, env=None, STACK_MIN_FREE_MB="999999999")
    file = tmp_path / "env"
    assert file.stat().st_mode & 0o777 == 0o600
    made = dict(line.split("=", 1) for line in file.read_text().splitlines() if not line.startswith("#"))
    assert set(made) == {*GOOD, *AIRFLOW}
    assert len(set(made.values())) == 6
    assert os.environ.get("S3_SECRET_KEY") != made["S3_SECRET_KEY"]
