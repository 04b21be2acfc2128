"""Write ``.env.example`` and ``docs/configuration.md`` from the settings themselves."""

from __future__ import annotations

import typing
from pathlib import Path

from pydantic import SecretStr

from playlake.settings import PREFIX, ROOT, Settings
from playlake.warehouse.snowflake import options as snowflake

_GROUPS = (
    ("What runs, and where", ("profile", "target", "home", "log_level", "log_format", "min_free_mb", "heartbeat")),
    ("The inbox", ("inbox", "listener")),
    ("The warehouse", ("time_zone", "counts_as_play", "merge_sources", "memory_mb")),
    ("Serving", ("host", "api_port", "dashboard_port", "cache_ttl_s", "redis_url")),
    ("The embedded servers", ("broker_port", "s3_port", "redis_port", "embedded_log_batches")),
    ("Kafka", tuple(n for n in Settings.model_fields if n.startswith("kafka_"))),
    ("The object store", ("s3_endpoint", "s3_region", "s3_bucket", "s3_access_key", "s3_secret_key")),
    ("Checks and alerts", ("max_lag_s", "max_refused_share", "alert_urls", "alert_on")),
    (
        "The lake writer",
        ("flush_rows", "flush_seconds", "flush_bytes", "catchup_rows", "checkpoint_versions", "metrics_port"),
    ),
)
_SNOWFLAKE = "Snowflake, for the target `cloud`", tuple(snowflake.Snowflake.model_fields)
_Kind = type[Settings] | type[snowflake.Snowflake]


def _groups() -> list[tuple[str, tuple[str, ...], _Kind, str]]:
    """Title, fields, whose they are, and what their variables begin with."""
    ours: list[tuple[str, tuple[str, ...], _Kind, str]] = [(title, names, Settings, PREFIX) for title, names in _GROUPS]
    return [*ours, (*_SNOWFLAKE, snowflake.Snowflake, snowflake.PREFIX)]


def _type(name: str, of: _Kind) -> str:
    annotation = of.model_fields[name].annotation
    kinds = [a for a in typing.get_args(annotation) if a is not type(None)] or [annotation]
    if any(typing.get_origin(k) is typing.Literal for k in [annotation, *kinds]):
        literal = next(k for k in [annotation, *kinds] if typing.get_origin(k) is typing.Literal)
        return " \\| ".join(f"`{v}`" for v in typing.get_args(literal))
    if typing.get_origin(annotation) is None and annotation is not None and not typing.get_args(annotation):
        kinds = [annotation]
    if all(isinstance(k, str) for k in kinds):
        return " \\| ".join(f"`{k}`" for k in kinds)
    names = {
        bool: "true \\| false",
        str: "text",
        int: "whole number",
        float: "number",
        Path: "path",
        SecretStr: "secret",
    }
    return names[kinds[0]]


def _default(name: str, of: _Kind) -> str:
    value = of.model_fields[name].default
    return "" if value is None else str(value)


def markdown() -> str:
    """``docs/configuration.md``."""
    parts = [
        "# Configuration",
        "",
        "Every setting is an environment variable, or a line of a `.env` file in the folder where `playlake` is"
        " started; the environment wins. All problems are reported at once, with exit code 2, and so is a variable"
        f" that begins with `{PREFIX}` but is no setting. `.env.example` lists them all."
        " This page is written by `make configuration`.",
        "",
        "The embedded profile needs none of them. The secrets of its servers are made at the first `playlake up` and"
        " kept in `<home>/run`, readable by their owner only.",
    ]
    for title, names, of, prefix in _groups():
        parts += ["", f"## {title}", "", "| variable | kind | default | meaning |", "|---|---|---|---|"]
        for name in names:
            default = f"`{_default(name, of)}`" if _default(name, of) else ""
            description = of.model_fields[name].description
            parts.append(f"| `{prefix}{name.upper()}` | {_type(name, of)} | {default} | {description} |")
    return "\n".join(parts) + "\n"


def dotenv() -> str:
    """``.env.example``."""
    parts = ["# Copy to .env and take the number sign off what you set. docs/configuration.md explains each."]
    for title, names, of, prefix in _groups():
        parts += ["", f"# {title}"]
        parts += [f"#{prefix}{name.upper()}={_default(name, of)}" for name in names]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    (ROOT / "docs" / "configuration.md").write_text(markdown())
    (ROOT / ".env.example").write_text(dotenv())
