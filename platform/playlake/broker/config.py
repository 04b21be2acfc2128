"""Settings in the words of the two Kafka clients."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any, TypeVar

from playlake.errors import UnavailableError
from playlake.settings import Settings

P = TypeVar("P", bound=tuple[str, int])

_BACKOFF_MS = 1000
"""Most that a client waits before it knocks at a broker again. The clients' own limits (30 s and 10 s) make of a server
that was away for a moment, but failed often in it, one that is away for minutes."""

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
"""The largest message, set on the topics too: Kafka's own default is 1 MiB, Confluent Cloud allows 8."""


def bootstrap(settings: Settings) -> str:
    """The bootstrap servers.

    :raises UnavailableError: when the embedded stack has not been started.
    """
    if not settings.kafka_bootstrap:
        raise UnavailableError("The embedded stack is not running. Start it with `playlake up`, then run this again.")
    return settings.kafka_bootstrap


def kafka_python(settings: Settings) -> dict[str, Any]:
    """Connection arguments for kafka-python."""
    config: dict[str, Any] = {
        "bootstrap_servers": bootstrap(settings).split(","),
        "security_protocol": settings.kafka_security_protocol,
        "client_id": "playlake",
        "reconnect_backoff_max_ms": _BACKOFF_MS,
    }
    if settings.kafka_security_protocol.startswith("SASL"):
        config |= {
            "sasl_mechanism": settings.kafka_sasl_mechanism,
            "sasl_plain_username": settings.kafka_sasl_username,
            "sasl_plain_password": _password(settings),
        }
    return config


def librdkafka(settings: Settings) -> dict[str, Any]:
    """Connection settings for confluent-kafka."""
    config: dict[str, Any] = {
        "bootstrap.servers": bootstrap(settings),
        "security.protocol": settings.kafka_security_protocol,
        "client.id": "playlake",
        "log_level": 0,  # its errors come as errors of the calls, its lines would be in nobody's format
        "reconnect.backoff.max.ms": _BACKOFF_MS,
    }
    if settings.kafka_security_protocol.startswith("SASL"):
        config |= {
            "sasl.mechanism": settings.kafka_sasl_mechanism,
            "sasl.username": settings.kafka_sasl_username,
            "sasl.password": _password(settings),
        }
    return config


def _password(settings: Settings) -> str | None:
    secret = settings.kafka_sasl_password
    return secret.get_secret_value() if secret else None


def listens(address: str, timeout_s: float = 1.0) -> bool:
    """Whether anything listens at an address (``host:port``, or a URL)."""
    host, _, port = address.split("//")[-1].strip("/ ").rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=timeout_s):
            return True
    except (OSError, ValueError):
        return False


def withheld(settings: Settings, claims: Mapping[P, int]) -> UnavailableError:
    """The error that says that the broker claims messages and does not give them.

    :param claims: by topic and partition, how many.
    """
    (topic, partition), count = max(claims.items(), key=lambda item: item[1])
    more = f", and of {len(claims) - 1} more partitions" if len(claims) > 1 else ""
    return UnavailableError(
        f"The broker at {bootstrap(settings)} claims {count:,} more messages of {topic}/{partition}{more} and gives"
        " none of them: it stands still, or has lost them. See that it is well (`playlake status`), and run this again."
    )


def down(settings: Settings, reason: object) -> UnavailableError:
    """The error that says the broker does not answer."""
    if settings.profile == "embedded" and settings.s3_endpoint and not listens(settings.s3_endpoint):
        return UnavailableError(
            f"The broker at {bootstrap(settings)} does not answer ({reason}): the object store in which it keeps its"
            f" log is away ({settings.s3_endpoint}).",
            "Start it with `playlake up`, and run this again.",
        )
    what_to_do = (
        "See `playlake status`, start it with `playlake up`, and run this again."
        if settings.profile == "embedded"
        else "See that it runs and that the PLAYLAKE_KAFKA_… settings are right, and run this again."
    )
    return UnavailableError(f"The broker at {bootstrap(settings)} does not answer ({reason}).", what_to_do)
