"""dbt as a user runs it by hand (`playlake dbt`): with the settings of a build, and no build trusts what it leaves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml  # dbt's own

from playlake.settings import Settings
from playlake.warehouse import dbt, definition, stages, target, unchanged
from playlake.warehouse.build import Say, alone

_CHANGING = {"run", "build", "seed", "snapshot", "run-operation", "retry", "clone"}
_READING = {"test", "compile", "show", "docs", "list", "ls", "source", "debug", "parse", "deps", "clean", "init"}
_SAID = "dbt is run by hand: the next `playlake build` makes all tables anew, since no build made these."


def run(settings: Settings, arguments: Sequence[str], *, quiet: bool = False, say: Say | None = None) -> int:
    """Run dbt on the target of the settings, with its own output; returns its exit code.

    After a command that changes tables the next build makes everything anew: by --vars, --select or --full-refresh
    they may be such as no build has made.

    :param quiet: its output goes to standard error, and leaves standard output to others.
    :param say: told when the next build will make everything anew.
    """
    with alone(settings) as home:
        where = target.of(settings, home, settings.target)
        where.target_path.mkdir(exist_ok=True)
        if changes_tables(arguments):
            _disown(home, where.name)
            if say:
                say(_SAID)
        return dbt.by_hand(settings, where, arguments, variables(settings, arguments), quiet=quiet)


def changes_tables(arguments: Sequence[str]) -> bool:
    """Whether a dbt command line changes tables. Where its options make that unclear, it is said to."""
    if {"--help", "-h"} & set(arguments):
        return False
    known = [place for place, word in enumerate(arguments) if word in _CHANGING | _READING]
    # After an option a word may be its value (`--log-level debug run`): then those that follow may be the command.
    for place in known:
        if arguments[place] in _CHANGING:
            return True
        if place == 0 or not arguments[place - 1].startswith("-"):
            return False
    return False


def variables(settings: Settings, arguments: Sequence[str]) -> dict[str, str]:
    """The settings that models depend on, but those that --vars name, which the user means.

    The numbers of builds are left to dbt_project.yml: this is none, and makes all of gold anew that it makes.
    """
    named = {f"DBT_PLAYLAKE_{name}".upper() for given in _given(arguments) for name in given}
    return {name: value for name, value in definition.variables(settings).items() if name not in named}


def _given(arguments: Sequence[str]) -> Iterator[dict[str, Any]]:
    """What --vars say; what can't be read dbt refuses itself."""
    for place, argument in enumerate(arguments):
        option, equals, text = argument.partition("=")
        if option != "--vars":
            continue
        try:
            found = yaml.safe_load(text if equals else "".join(arguments[place + 1 : place + 2]))
        except yaml.YAMLError:
            continue
        if isinstance(found, dict):
            yield {str(name): value for name, value in found.items()}


def _disown(home: Path, where: str) -> None:
    """Note that a target's tables are no build's, also not that of one in stages that is under way."""
    unchanged.forget(home, where)
    if made := definition.load(home, where):
        replace(made, whole=False).save(home, where)
    begun = stages.load(home)
    if begun and begun.target == where:
        begun.reopen(next(iter(stages.COMMANDS)))
        begun.full, begun.published = True, 0
        begun.save(home)
