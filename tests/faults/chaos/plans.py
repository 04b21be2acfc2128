"""How a writer is to end, drawn from the run's seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

FAILPOINTS = (
    "after-poll",
    "before-files",
    "after-files",
    "before-dead-letters",
    "between-dead-letters-and-bronze",
    "before-commit",
    "after-commit",
    "in-revoke",
    "before-checkpoint",
    "in-checkpoint",
    "after-checkpoint",
)
CHILD = "in-checkpoint"
"""A failpoint of the process that makes a writer's checkpoint, which dies there, and the writer goes on."""
_PATIENCE_S = 8.0
"""How long a writer that reads is given to come to its failpoint; then it is killed where it is."""
_SELDOM = {"in-revoke": 20.0, "before-checkpoint": 16.0, "in-checkpoint": 16.0, "after-checkpoint": 16.0}
"""The same for those that are seldom passed."""


@dataclass(frozen=True)
class Plan:
    """How a writer is to end: ``kill``, ``freeze`` or ``ask`` (SIGTERM).

    At the pass ``passes`` of the failpoint ``where``, or, where that is empty, ``after_s`` seconds after it has joined.
    """

    how: str
    where: str
    passes: int
    after_s: float
    catchup_rows: int

    @property
    def failpoint(self) -> str:
        """The environment variable's value."""
        return f"{self.where}:{self.passes}" + (":stop" if self.how == "freeze" else "") if self.where else ""

    @property
    def patience_s(self) -> float:
        """How long the failpoint is waited for."""
        return _SELDOM.get(self.where, _PATIENCE_S)

    def anywhere(self, how: str, after_s: float) -> Plan:
        """Another end, so long after it has joined."""
        return replace(self, how=how, where="", after_s=after_s)

    def __str__(self) -> str:
        return f"{self.how} {self.failpoint or f'after {self.after_s:.1f} s'}"


def plan(rng: random.Random, *, apart: bool) -> Plan:
    """The next one. A writer that is ``apart`` from others sees no rebalance."""
    how = rng.choices(("kill", "freeze", "ask"), (75, 15, 10))[0]
    places = [name for name in FAILPOINTS if not (apart and name == "in-revoke")]
    weights = [1 if name in _SELDOM else 2 for name in places]
    where = rng.choices(places, weights)[0] if how != "ask" and rng.random() < 0.8 else ""
    how = "kill" if where == CHILD else how
    passes = 1 if where in _SELDOM else rng.choice((1, 1, 2, 3, 5))
    rows = 30 if "checkpoint" in where else rng.choice((30, 100, 400, 5000))  # one comes every 10 commits
    return Plan(how, where, passes, rng.uniform(1.0, 10.0), rows)
