"""Leaving a consumer group for a member that was killed: a note of who is a member, left for the next process.

A broker learns that a member was killed when its session ends, 6 s later, and until then its partitions are nobody's;
Tansu 0.6 needs longer still where the one killed led the group. So each member keeps a note of its id under a lock that
ends with its process. Whoever joins next finds notes without a lock, and leaves the group for those who wrote them, as
``AdminClient.removeMembersFromConsumerGroup`` does (KIP-345). Only speed depends on it: one that is said to be gone and
is not joins again, and what two landed at once the table sorts out.
"""

from __future__ import annotations

import fcntl
import json
import uuid
from contextlib import suppress
from operator import itemgetter
from pathlib import Path
from typing import IO

from playlake import log
from playlake.broker.admin import Admin
from playlake.errors import UnavailableError
from playlake.settings import Settings

_log = log.get("broker")


def _locked(note: IO[str]) -> bool:
    """Take the lock; whether it was free."""
    try:
        fcntl.flock(note, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Member:
    """Says on disk that this process is a member of a group, until it is closed or the process ends.

    A home that can't be written, or whose file system has no locks, makes no difference but to speed.
    """

    def __init__(self, settings: Settings, group: str) -> None:
        self._folder = settings.home_path / "members"
        self._group = group
        self._member = ""
        self._note: tuple[IO[str], Path] | None = None

    def is_now(self, member: str | None) -> None:
        """Write down the id that the group has given us, if it is another than before."""
        if not member or member == self._member:
            return
        self._member = member
        self.left()
        name = f"{uuid.uuid4().hex}.json"
        new = self._folder / f".{name}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            file = new.open("w", encoding="utf-8")
            self._note = (file, self._folder / name)
            _locked(file)
            json.dump({"group": self._group, "member": member}, file)
            file.flush()
            new.rename(self._folder / name)  # complete and locked before anyone sees it
        except OSError as error:
            _log.debug("no note of the membership", why=str(error))
            self.left()
            with suppress(OSError):
                new.unlink(missing_ok=True)

    def left(self) -> None:
        """The group was left: take the note away."""
        note, self._note = self._note, None
        if note:
            with suppress(OSError):
                note[1].unlink(missing_ok=True)
            with suppress(OSError):  # what a full disk has not taken is written once more, in vain
                note[0].close()


def leave_for_the_dead(settings: Settings, group: str) -> int:
    """Leave ``group`` for each member of it on this machine whose process has ended without doing so.

    :returns: how many members the broker removed.
    """
    dead: dict[str, Path] = {}
    held = []
    for path in (settings.home_path / "members").glob("*.json"):
        with suppress(OSError):
            note = path.open("r+", encoding="utf-8")
            held.append(note)
            if not _locked(note):
                continue
            try:
                of, member = itemgetter("group", "member")(json.load(note))
                if not (isinstance(of, str) and isinstance(member, str)):
                    raise TypeError(path)
            except (ValueError, KeyError, TypeError):
                # Killed while it wrote this; of one that is about to, only the note is lost.
                path.unlink(missing_ok=True)
                continue
            if of == group:
                dead[member] = path
    removed = 0
    try:
        if dead:
            with Admin(settings) as admin:
                # Tansu 0.6 waits for ever for a leader that leaves now, and else until its session ends.
                if not admin.forming(group):
                    removed = admin.remove_members(group, list(dead))
            _log.info("left the group for writers that were killed", writers=len(dead), removed=removed)
            for path in dead.values():
                with suppress(OSError):
                    path.unlink(missing_ok=True)
    except UnavailableError as error:
        _log.debug("the group was not left for writers that were killed", why=str(error))
    finally:
        for note in held:
            note.close()
    return removed


def forget_the_last_leader(settings: Settings, group: str) -> None:
    """On the embedded broker, delete a group that nobody is in.

    Tansu 0.6 keeps the leader of a group whose members left at nearly the same time, and lets nobody else lead it.
    Whoever joins between our look and the deletion joins again.
    """
    if settings.profile != "embedded":
        return
    try:
        with Admin(settings) as admin:
            admin.forget_if_empty(group)
    except UnavailableError as error:
        _log.debug("the empty group was not deleted", why=str(error))
