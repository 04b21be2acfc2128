"""The stages of a build, and the file that remembers how far the latest build has come."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from playlake.errors import PlaylakeError, UsageError

BEGIN, PUBLISH = "begin", "publish"
_SILVER = ("--select", "path:models/raw", "path:models/silver")
_GOLD = ("--select", "path:models/gold", "--exclude", "tag:recommendations")
_RECOMMENDATIONS = ("--select", "tag:recommendations")
# A test runs in the stage of the last model it looks at: all its parents are then selected or built before.
_TESTS = ("--indirect-selection", "buildable")

COMMANDS: dict[str, tuple[str, ...]] = {
    "silver": ("run", *_SILVER),
    "silver-tests": ("test", *_SILVER, "source:*", *_TESTS),
    "gold": ("run", *_GOLD),
    "gold-tests": ("test", *_GOLD, *_TESTS),
    "recommendations": ("build", *_RECOMMENDATIONS, *_TESTS),
}
"""By stage, in their order, the dbt command; each model and test of the project is in exactly one."""

STAGES = (BEGIN, *COMMANDS, PUBLISH)
_FILE = "build.json"
_REMEMBERED = 100
"""Names of former builds that are kept, so that a mistyped one is told from one that was taken over."""


class SupersededError(PlaylakeError):
    """A build that was begun before the latest one: what it would make is older, so it is left alone."""


@dataclass(slots=True)
class Begun:
    """A build under way: where, of which Delta versions, and which stages it has passed, with how many tests."""

    id: str
    versions: dict[str, int]
    done: dict[str, int] = field(default_factory=dict)
    tests: int = 0
    former: list[str] = field(default_factory=list)
    """The builds begun before it, the last ones: they have been taken over."""
    target: str = "local"
    number: int = 0
    """Milliseconds since 1970; of two builds the later has the higher one, whatever the clock does."""
    published: int = 0
    """The number of the build that was published last: what it had not is made anew in gold. 0: everything."""
    full: bool = False
    """Whether silver is made anew too: the models, their settings or the lake are others than before."""

    @classmethod
    def new(cls, versions: Mapping[str, int], before: Self | None, target: str = "local") -> Self:
        """A build that has passed no stage, and takes over from the one before."""
        former = [*before.former, before.id][-_REMEMBERED:] if before else []
        number = max(int(time.time() * 1000), before.number + 1 if before else 0)
        return cls(secrets.token_hex(6), dict(versions), former=former, target=target, number=number)

    def require(self, stage: str) -> None:
        """See that all stages before this one have been passed.

        :raises UsageError: naming the first that has not.
        """
        if stage not in (*COMMANDS, PUBLISH):
            raise UsageError(f"{stage!r} is no stage of a build. The stages are {', '.join(STAGES)}.")
        for before in COMMANDS:
            if before == stage:
                return
            if before not in self.done:
                raise UsageError(f"The build {self.id} has not passed its stage {before}; that comes before {stage}.")

    def reopen(self, stage: str) -> None:
        """Forget this stage and those after it: its models are about to change."""
        after = list(COMMANDS)[list(COMMANDS).index(stage) :]
        self.done = {name: tests for name, tests in self.done.items() if name not in after}
        self.tests = sum(self.done.values())

    def passed(self, stage: str, tests: int) -> None:
        """Note that a stage has been passed."""
        self.done[stage] = tests
        self.tests = sum(self.done.values())

    def save(self, home: Path) -> None:
        """Make this the latest build."""
        new = home / f"{_FILE}.{os.getpid()}"
        new.write_text(json.dumps(asdict(self)))
        new.replace(home / _FILE)


def load(home: Path) -> Begun | None:
    """The latest build that was begun, or None."""
    try:
        return Begun(**json.loads((home / _FILE).read_text()))
    except (OSError, ValueError, TypeError):
        return None
