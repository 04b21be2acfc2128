"""Airflow's connections in the words of playlake's settings.

A connection that is not defined changes nothing: the setting then comes from the environment of Airflow itself. They
have the form of Airflow's own providers (``apache.kafka``, ``amazon``, ``redis``, ``snowflake``), and are best given as
variables (``AIRFLOW_CONN_PLAYLAKE_S3='{"conn_type": "aws", …}'``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowNotFoundException

_log = logging.getLogger(__name__)


def kafka(connection: Connection) -> dict[str, Any]:
    """Type ``kafka``: librdkafka's names in the extra."""
    extra = connection.extra_dejson
    return {
        "PLAYLAKE_KAFKA_BOOTSTRAP": extra.get("bootstrap.servers"),
        "PLAYLAKE_KAFKA_SECURITY_PROTOCOL": extra.get("security.protocol"),
        "PLAYLAKE_KAFKA_SASL_MECHANISM": extra.get("sasl.mechanism") or extra.get("sasl.mechanisms"),
        "PLAYLAKE_KAFKA_SASL_USERNAME": extra.get("sasl.username"),
        "PLAYLAKE_KAFKA_SASL_PASSWORD": extra.get("sasl.password"),
    }


def s3(connection: Connection) -> dict[str, Any]:
    """Type ``aws``: the keys as login and password."""
    extra = connection.extra_dejson
    return {
        "PLAYLAKE_S3_ACCESS_KEY": connection.login,
        "PLAYLAKE_S3_SECRET_KEY": connection.password,
        "PLAYLAKE_S3_ENDPOINT": extra.get("endpoint_url"),
        "PLAYLAKE_S3_REGION": extra.get("region_name"),
        "PLAYLAKE_S3_BUCKET": extra.get("service_config", {}).get("s3", {}).get("bucket_name"),
    }


def redis(connection: Connection) -> dict[str, Any]:
    """Type ``redis``: host, port, password; ``db`` and ``ssl`` in the extra."""
    extra = connection.extra_dejson
    scheme = "rediss" if extra.get("ssl") else "redis"
    who = (
        f"{quote(connection.login or '', safe='')}:{quote(connection.password, safe='')}@"
        if connection.password
        else ""
    )
    return {"PLAYLAKE_REDIS_URL": f"{scheme}://{who}{connection.host}:{connection.port or 6379}/{extra.get('db', 0)}"}


def snowflake(connection: Connection) -> dict[str, Any]:
    """Type ``snowflake``: a user with a key pair."""
    extra = connection.extra_dejson
    return {
        "SNOWFLAKE_USER": connection.login,
        "SNOWFLAKE_PRIVATE_KEY_FILE_PWD": connection.password,
        "SNOWFLAKE_SCHEMA": connection.schema,
        **{
            f"SNOWFLAKE_{name.upper()}": extra.get(name)
            for name in ("account", "database", "warehouse", "role", "private_key_file")
        },
    }


KINDS: dict[str, Callable[[Connection], dict[str, Any]]] = {
    "playlake_kafka": kafka,
    "playlake_s3": s3,
    "playlake_redis": redis,
    "playlake_snowflake": snowflake,
}
"""By the connection's id, what it sets."""


def variables() -> dict[str, str]:
    """What the connections that are defined set, secrets among them: never for a log."""
    found: dict[str, str] = {}
    for name, kind in KINDS.items():
        try:
            connection = Connection.get(name)
        except AirflowNotFoundException:
            continue
        found |= {variable: str(value) for variable, value in kind(connection).items() if value}
    return found
