"""Running playlake's own command, in its own environment."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread, current_thread, main_thread
from typing import Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from playlake_orchestration import connections

_log = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parents[3]
LIFELINE = "_PLAYLAKE_LIFELINE"
"""Environment variable: the pipe with which the command ends, as in playlake.lifeline, which Airflow can't import."""
PROGRAM = "ORCHESTRATION_PLAYLAKE"
"""Environment variable: the command playlake, if it is not in the checkout's ``.venv``."""


def playlake(*arguments: str, accept: Iterable[int] = (0,)) -> dict[str, Any]:
    """Run ``playlake … --json`` and return its one object; what it says meanwhile goes into the task's log.

    :param accept: exit codes that are no failure.
    :raises AirflowFailException: when it was used wrongly: trying again would not help.
    :raises AirflowSkipException: when a newer build has taken over.
    :raises AirflowException: when it failed; the task is then tried again.
    """
    command = [os.environ.get(PROGRAM) or str(ROOT / ".venv" / "bin" / "playlake"), *arguments, "--json"]
    _log.info("playlake %s", " ".join(arguments))
    code, out, said = _run(command)
    try:
        found = json.loads(out.splitlines()[-1])
    except (ValueError, IndexError):
        found = {}
    if code in accept and isinstance(found, dict) and found and "error" not in found:
        return found
    text = str(found.get("error") or found.get("problem") or " / ".join(said) or f"exit code {code}")
    if found.get("kind") == "SupersededError":
        raise AirflowSkipException(text)
    raise (AirflowFailException if code == 2 else AirflowException)(text)


def verify() -> dict[str, int]:
    """Compare log and lake: every offset of the log is once in the lake, and the store has what its logs say.

    :raises AirflowException: when anything is lost, expired, doubled, unreadable, in a wrong folder, or a log broken.
    """
    report = playlake("lake", "verify", accept=(0, 1))
    names = {name: name for name in ("lost", "expired", "doubled", "unreadable", "misplaced")}
    wrong = {name: int(report[key]) for key, name in {**names, "log_faults": "faults of logs"}.items()}
    if any(wrong.values()):
        counts = ", ".join(f"{count} {name}" for name, count in wrong.items() if count)
        raise AirflowException(f"The lake is not whole: {counts}. `playlake lake verify` names them.")
    if withheld := sum(int(one["messages"]) for one in report["withheld"]):
        raise AirflowException(f"An open transaction withholds {withheld} messages: `playlake lake verify` says where.")
    return {**wrong, "pending": int(report["pending"]), "files": int(report["files"])}


def _run(command: list[str]) -> tuple[int, str, list[str]]:
    """Exit code, standard output, and the last lines of standard error."""
    with _started(command) as process:
        return _heard(process)


@contextmanager
def _started(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """The command, which is ended when its task is: by SIGTERM, which Airflow's supervisor passes on to the task
    alone when it is ended itself, or by an exception, as at the end of the task's time. It leaves things whole.
    """
    process: subprocess.Popen[str] | None = None
    asked = False

    def end(*_: object) -> None:
        nonlocal asked
        asked = True
        if process:  # or else it is just being started
            process.terminate()

    here = current_thread() is main_thread()
    read, write = os.pipe()
    before = signal.signal(signal.SIGTERM, end) if here else None
    try:
        process = _start(command, read)
        if asked:
            process.terminate()
        yield process
    finally:
        if process and process.poll() is None:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
        os.close(write)
        os.close(read)
        if here:
            signal.signal(signal.SIGTERM, before)


def _start(command: list[str], pipe: int) -> subprocess.Popen[str]:
    """:param pipe: it closes with this process, and the command ends then (``playlake.lifeline``)."""
    try:
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**_environment(), LIFELINE: str(pipe)},
            pass_fds=(pipe,),
        )
    except OSError as error:
        raise AirflowFailException(
            f"{command[0]} can't be run ({error.strerror}). Set {PROGRAM} to the command, or run `make install`."
        ) from error


def _heard(process: subprocess.Popen[str]) -> tuple[int, str, list[str]]:
    said: deque[str] = deque(maxlen=3)

    def listen() -> None:
        for line in process.stderr or ():
            _log.info("%s", line.rstrip())
            said.append(line.strip())

    listener = Thread(target=listen, daemon=True)
    listener.start()
    out = process.stdout.read() if process.stdout else ""
    code = process.wait()
    listener.join(10)
    return code, out, list(said)


def _environment() -> dict[str, str]:
    """Airflow's own environment without what is Airflow's, with what the connections say."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "_AIRFLOW"))}
    return {**mine, **connections.variables()}
