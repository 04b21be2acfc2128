"""Whether a server answers."""

from __future__ import annotations

import urllib.error
import urllib.request

from playlake.settings import Settings
from playlake.stack import ports
from playlake.stack.state import State


def ready(name: str, settings: Settings, state: State) -> bool:
    """Whether an embedded server does its work, asked in its own protocol.

    :param settings: with the servers' addresses.
    """
    from playlake.broker import Admin  # clients of every server, which most commands do without
    from playlake.cache import RedisCache

    if name == "store":
        return http_ok(f"{settings.s3_endpoint}/healthz")
    if name == "cache":
        cache = RedisCache(settings)
        try:
            return cache.ping()
        finally:
            cache.close()
    if not ports.listens(state.ports["broker"]):
        return False
    with Admin(settings) as admin:
        admin.topics(("user_plays",))
    return True


def http_ok(url: str) -> bool:
    """Whether a URL is answered with 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - a loopback address of ours
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError, ValueError):
        return False
