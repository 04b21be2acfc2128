"""Connections to Snowflake, and what their errors mean, in a line or two."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playlake.errors import PlaylakeError, UnavailableError, UsageError
from playlake.settings import Settings
from playlake.warehouse.snowflake import keys
from playlake.warehouse.snowflake.options import Snowflake

_LOGIN_S = 20
_SESSION = {"TIMEZONE": "UTC", "QUERY_TAG": "playlake", "CLIENT_OUT_OF_BAND_TELEMETRY_ENABLED": False}

# https://docs.snowflake.com/en/user-guide/client-connectivity-troubleshooting/error-messages
_LOGIN_REFUSED = {390100, 390101, 390102, 390111, 390114, 390144, 390189, 390195, 390186, 394300, 394304}
_NO_RIGHTS = {3001, 3003, 3013}
_NOT_THERE = {2003, 2043}
_NO_ACCOUNT = {290404, 290403, 390422}


def _arguments(settings: Settings, options: Snowflake, *, admin: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "account": options.require_account(),
        "login_timeout": _LOGIN_S,
        "platform_detection_timeout_seconds": 0.0,
        "session_parameters": _SESSION,
        "application": "playlake",
    }
    if options.host:
        found |= {"host": options.host, "port": options.port, "protocol": options.protocol}
    if not admin:
        key = options.require_key(settings)
        return found | {
            "user": options.user,
            "role": options.role,
            "warehouse": options.warehouse,
            "database": options.database,
            "authenticator": "SNOWFLAKE_JWT",
            "private_key": keys.private(key, options.passphrase()),
        }
    if not (options.admin_user and options.admin_password):
        raise UsageError(
            "`cloud setup` needs a user who may use ACCOUNTADMIN: set SNOWFLAKE_ADMIN_USER and SNOWFLAKE_ADMIN_PASSWORD"
            " (with MFA SNOWFLAKE_ADMIN_PASSCODE), or run what `playlake cloud setup --dry-run` prints in Snowsight."
        )
    found |= {"user": options.admin_user, "password": options.admin_password.get_secret_value()}
    if options.admin_passcode:
        found |= {"authenticator": "username_password_mfa", "passcode": options.admin_passcode.get_secret_value()}
    return found


@contextmanager
def connect(settings: Settings, options: Snowflake, *, admin: bool = False) -> Iterator[Any]:
    """A connection as the builds' user, or as the one who sets things up (``admin``).

    :raises UsageError: when the settings do not say enough.
    :raises UnavailableError: when Snowflake does not answer.
    :raises PlaylakeError: when it refuses the login, and for every error of a statement inside.
    """
    arguments = _arguments(settings, options, admin=admin)
    logging.getLogger("snowflake").setLevel(logging.CRITICAL)  # what it would say comes as an error, once
    import snowflake.connector as sdk

    try:
        connection = sdk.connect(**arguments)
    except sdk.errors.Error as error:
        raise _login_failed(error, options, admin=admin) from None
    try:
        yield connection
    except sdk.errors.Error as error:
        raise _failed(error, options) from None
    finally:
        connection.close()


def query(connection: Any, sql: str) -> list[tuple[Any, ...]]:
    """All rows of a statement."""
    with connection.cursor() as cursor:
        rows: list[tuple[Any, ...]] = cursor.execute(sql).fetchall()
        return rows


def _said(error: Any) -> str:
    return " ".join(str(error.msg or error).split())[:240]


def _login_failed(error: Any, options: Snowflake, *, admin: bool) -> PlaylakeError:
    user = options.admin_user if admin else options.user
    if error.errno in _NO_ACCOUNT or "404" in _said(error)[:120]:
        return UsageError(
            f"There is no Snowflake account {options.account!r}. SNOWFLAKE_ACCOUNT is organization-account, as"
            " Snowsight shows it under Account details."
        )
    if error.errno in _LOGIN_REFUSED or any(str(code) in _said(error) for code in _LOGIN_REFUSED):
        what = (
            "SNOWFLAKE_ADMIN_PASSWORD (and the MFA code)" if admin else "that `playlake cloud setup` gave it this key"
        )
        return PlaylakeError(f"Snowflake refused the user {user}: {_said(error)}\nCheck {what} and the account.")
    return UnavailableError(
        f"Snowflake does not answer for the account {options.account!r}: {_said(error)}\nCheck the network, and"
        " SNOWFLAKE_ACCOUNT (a wrong one leads to a host that is not there)."
    )


def _failed(error: Any, options: Snowflake) -> PlaylakeError:
    if error.errno in _NO_RIGHTS:
        return PlaylakeError(
            f"Snowflake says: {_said(error)}\nThe role lacks a right: run `playlake cloud setup` as a user who may use"
            " ACCOUNTADMIN; it can be run again at any time."
        )
    if error.errno in _NOT_THERE:
        return PlaylakeError(
            f"Snowflake says: {_said(error)}\nWhat is named there is missing, or the role {options.role} may not see"
            " it: run `playlake cloud setup` first."
        )
    return PlaylakeError(f"Snowflake says: {_said(error)} (error {error.errno}, query {error.sfqid or 'unknown'}).")
