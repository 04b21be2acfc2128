"""Telling people how a run ended: always in the log, and by webhook, e-mail or whatever else Apprise knows."""

from __future__ import annotations

import logging
from typing import Literal

from playlake import log
from playlake.errors import PlaylakeError
from playlake.settings import Settings

Level = Literal["success", "failure"]

_log = log.get("alerts")
# Apprise logs the addresses that fail, which may hold passwords and tokens.
logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)


def alert(settings: Settings, level: Level, title: str, text: str) -> int:
    """Log the alert, and send it to every address of ``alert_urls`` that wants it. Returns how many took it.

    Addresses are Apprise URLs (https://github.com/caronc/apprise/wiki). None of them is ever logged: a failure names
    an address by its place in the setting and its kind.

    :raises PlaylakeError: naming the addresses that did not take it; the others have it all the same.
    """
    (_log.error if level == "failure" else _log.warning)(title, level=level, text=text)
    if level == "success" and settings.alert_on == "failure":
        return 0
    urls = settings.alert_urls.get_secret_value().split() if settings.alert_urls else []
    refused = []
    for number, url in enumerate(urls, 1):
        if not _send(url, level, title, text):
            refused.append(f"number {number} ({url.partition('://')[0][:20]})")
    if refused:
        raise PlaylakeError(
            f"The alert {title!r} did not reach {len(refused)} of {len(urls)} addresses in PLAYLAKE_ALERT_URLS:"
            f" {', '.join(refused)}. Check that each is an Apprise URL and that its server takes messages."
        )
    return len(urls)


def _send(url: str, level: Level, title: str, text: str) -> bool:
    import apprise  # a second of imports that only those who send are to wait for

    service = apprise.Apprise()
    kind = apprise.NotifyType.FAILURE if level == "failure" else apprise.NotifyType.SUCCESS
    return bool(service.add(url) and service.notify(body=text or title, title=title, notify_type=kind))
