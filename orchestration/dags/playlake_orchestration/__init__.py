"""What the DAGs share: running playlake, the assets, the defaults of every task, and alerts."""

from playlake_orchestration.command import playlake, verify
from playlake_orchestration.defaults import BRONZE_PLAYS, DEFAULTS, START, tell_success

__all__ = ["BRONZE_PLAYS", "DEFAULTS", "START", "playlake", "tell_success", "verify"]
