"""Settings of Snowflake, under the names that Snowflake's own tools and Airflow's connection use (``SNOWFLAKE_…``)."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from playlake.errors import UsageError
from playlake.paths import given_path
from playlake.settings import Settings

PREFIX = "SNOWFLAKE_"
_NAME = re.compile(r"[A-Z_][A-Z0-9_$]{0,254}")


def _identifier(text: str) -> str:
    """A name that Snowflake takes without quotes; such names are upper case whatever is typed.

    https://docs.snowflake.com/en/sql-reference/identifiers-syntax
    """
    if not _NAME.fullmatch(text.upper()):
        raise ValueError("must be letters, digits, _ and $, and begin with a letter or _")
    return text.upper()


Name = Annotated[str, AfterValidator(_identifier)]


class Snowflake(BaseSettings):
    """How to reach Snowflake, and what its objects are called."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        env_file_encoding="utf-8",
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
    )

    account: str | None = Field(
        None, description="Account identifier, `organization-account` (Snowsight: Account details)."
    )
    user: Name = Field("PLAYLAKE", description="User of the builds; has a key pair and no password.")
    private_key_file: Path | None = Field(
        None, description="That user's private key (PEM, mode 0600); `<home>/run/snowflake_key.p8` unless set."
    )
    private_key_file_pwd: SecretStr | None = Field(None, description="Its passphrase, if it has one.")
    role: Name = Field("PLAYLAKE", description="Role of the builds; owns what they make.")
    warehouse: Name = Field("SPOTIFY_WH", description="Warehouse, X-Small, suspended after 60 idle seconds.")
    database: Name = Field("SPOTIFY_DATA", description="Database.")
    host: str | None = Field(
        None, description="Host, where it does not follow from the account (private link, a test)."
    )
    port: int = Field(443, ge=1, le=65535, description="Port of that host.")
    protocol: Literal["https", "http"] = Field(
        "https", description="`http` only with a host of this machine: a test server."
    )

    bronze: Literal["external", "delta", "loaded"] = Field(
        "external",
        description="How bronze is shown: `external` tables on the lake's files, `delta` read by Snowflake itself"
        " (Iceberg tables), or `loaded`: copied into ordinary tables, for a server with neither (fakesnow, in tests).",
    )
    aws_role_arn: str | None = Field(
        None, description="AWS role through which Snowflake reads the bucket, `arn:aws:iam::…:role/…`."
    )
    credits: int = Field(
        15, ge=1, description="Credits a month at which the resource monitor stops the warehouse (1 credit: 1 hour)."
    )

    admin_user: str | None = Field(None, description="Who runs `playlake cloud setup`; may use ACCOUNTADMIN.")
    admin_password: SecretStr | None = Field(None, description="That user's password; only `cloud setup` looks at it.")
    admin_passcode: SecretStr | None = Field(None, description="That user's code of the moment (MFA), where asked for.")

    @model_validator(mode="after")
    def _contradictions(self) -> Self:
        problems: list[str] = []
        if self.account and not re.fullmatch(r"[A-Za-z0-9._-]+", self.account):
            problems.append(
                f"{PREFIX}ACCOUNT is no account identifier: write it as organization-account, without a URL"
            )
        if self.protocol == "http" and self.host not in ("127.0.0.1", "localhost", "::1"):
            problems.append(f"{PREFIX}PROTOCOL=http sends data in the clear: it is for a {PREFIX}HOST of this machine")
        if self.host and not re.fullmatch(r"[A-Za-z0-9._:-]+", self.host):
            problems.append(f"{PREFIX}HOST must be a host's name alone, without https:// and path")
        if self.aws_role_arn and not re.fullmatch(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+", self.aws_role_arn):
            problems.append(f"{PREFIX}AWS_ROLE_ARN is no role: write arn:aws:iam::123456789012:role/name")
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def key_file(self, settings: Settings) -> Path:
        """Where the builds' private key is, or will be."""
        if self.private_key_file:
            return given_path(self.private_key_file).resolve()
        return settings.home_path / "run" / "snowflake_key.p8"

    def require_account(self) -> str:
        """The account.

        :raises UsageError: when it is not set.
        """
        if not self.account:
            raise UsageError(
                f"{PREFIX}ACCOUNT is not set: the target `cloud` needs it (organization-account, as Snowsight shows it"
                " under Account details). docs/cloud.md leads through the set-up."
            )
        return self.account

    def require_key(self, settings: Settings) -> Path:
        """The private key's file.

        :raises UsageError: when it is not there, or others can read it.
        """
        path = self.key_file(settings)
        if not path.is_file():
            raise UsageError(
                f"There is no private key {path}. `playlake cloud setup` makes one; to use another, name it in"
                f" {PREFIX}PRIVATE_KEY_FILE."
            )
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise UsageError(f"Others can read the private key {path}. Run: chmod 600 {path}")
        return path

    def passphrase(self) -> str | None:
        """The key's passphrase, for a client that is given it."""
        return self.private_key_file_pwd.get_secret_value() if self.private_key_file_pwd else None


def load_snowflake() -> Snowflake:
    """Read the settings from the environment and ``.env``.

    :raises UsageError: one message with every problem in it.
    """
    try:
        return Snowflake()
    except ValidationError as error:
        problems: list[str] = []
        for item in error.errors(include_input=False, include_url=False):
            where = "_".join(str(part) for part in item["loc"])
            text = item["msg"].removeprefix("Value error, ")
            problems += [f"{PREFIX}{where.upper()}: {text}"] if where else text.split("\n")
        lines = "\n".join(f"  {p}" for p in problems)
        raise UsageError(f"Snowflake's settings can't be used (see docs/configuration.md):\n{lines}") from None
