"""Whether servers that others started (containers, a cloud) answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from playlake.broker import Admin, config
from playlake.cache import RedisCache
from playlake.errors import PlaylakeError
from playlake.lake.store import Store
from playlake.settings import Settings
from playlake.stack.servers import SERVERS


def status(settings: Settings) -> list[dict[str, Any]]:
    """One row a server, as of the embedded ones: ``state`` is ``running`` or ``down``."""
    asks: dict[str, tuple[Callable[[Settings], bool], str]] = {
        "store": (_store, settings.s3_endpoint or f"AWS S3 ({settings.s3_region})"),
        "broker": (_broker, config.bootstrap(settings)),
        "cache": (_cache, _without_password(settings)),
    }
    return [
        {
            "name": name,
            "state": "running" if _answers(asks[name][0], settings) else "down",
            "pid": None,
            "address": asks[name][1],
            "log": "",
        }
        for name in SERVERS
    ]


def _answers(ask: Callable[[Settings], bool], settings: Settings) -> bool:
    try:
        return ask(settings)
    except PlaylakeError:
        return False


def _store(settings: Settings) -> bool:
    Store(settings).keys("bronze/none/")
    return True


def _broker(settings: Settings) -> bool:
    with Admin(settings) as admin:
        admin.topics(("user_plays",))
    return True


def _cache(settings: Settings) -> bool:
    cache = RedisCache(settings)
    try:
        return cache.ping()
    finally:
        cache.close()


def _without_password(settings: Settings) -> str:
    parts = urlsplit(settings.redis_url.get_secret_value() if settings.redis_url else "")
    return f"{parts.hostname}:{parts.port}"
