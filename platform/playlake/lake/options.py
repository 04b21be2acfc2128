"""Settings of the object store in the words of its clients."""

from __future__ import annotations

from typing import Any

from playlake.settings import Settings


def secret(value: Any) -> str | None:
    """A secret's text, for a client that is given it."""
    return value.get_secret_value() if value else None


def storage_options(settings: Settings) -> dict[str, str]:
    """Settings in the words of deltalake's object store."""
    settings.require_store()
    options = {
        "AWS_REGION": settings.s3_region,
        "AWS_ACCESS_KEY_ID": secret(settings.s3_access_key),
        "AWS_SECRET_ACCESS_KEY": secret(settings.s3_secret_key),
        "AWS_ENDPOINT_URL": settings.s3_endpoint,
        "aws_conditional_put": "etag",
        "timeout": "30s",
        "connect_timeout": "5s",
    }
    if settings.s3_endpoint and settings.s3_endpoint.startswith("http://"):
        options["AWS_ALLOW_HTTP"] = "true"
    return {name: value for name, value in options.items() if value}
