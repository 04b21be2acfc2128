"""One frozen, typed :class:`Settings`, built once at each entry point and passed in.

Values come from the environment (``PLAYLAKE_…``) and from a ``.env`` file in the working folder, the environment
first. Every problem is reported in one message that names the variables.
"""

from __future__ import annotations

import difflib
import functools
import os
import re
import zoneinfo
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from playlake import failpoints
from playlake.errors import UnavailableError, UsageError
from playlake.paths import given_path

PREFIX = "PLAYLAKE_"
ROOT = Path(__file__).resolve().parents[2]
"""The checkout: where ``dbt/`` and ``app/`` are."""

_BUCKET = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
"""S3's own rule (https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html)."""
Profile = Literal["embedded", "containers", "cloud"]
TargetName = Literal["local", "cloud"]
Port = int


class Settings(BaseSettings):
    """All settings. Durations are seconds, sizes bytes unless the name says otherwise."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", env_file_encoding="utf-8", frozen=True, extra="ignore"
    )

    profile: Profile = Field("embedded", description="Which stack: `embedded`, `containers` or `cloud`.")
    target: TargetName = Field(
        "local", description="Where dbt builds: `local` (DuckDB) or `cloud` (Snowflake; see `SNOWFLAKE_…`)."
    )
    home: Path = Field(
        Path(".playlake"), description="The one folder for data, logs, receipts and the embedded servers' state."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("warning", description="How much is logged.")
    log_format: Literal["text", "json"] = Field("text", description="How log lines on standard error are written.")
    min_free_mb: int = Field(
        512, ge=0, description="Starting the embedded stack is refused with less free disk than this (MiB)."
    )

    inbox: Path = Field(Path("inbox"), description="Folder into which exports are dropped (`playlake inbox`).")
    listener: str = Field("me", min_length=1, description="Whose exports are in the inbox; exports do not say.")
    heartbeat: Path | None = Field(
        None, description="File that long-running commands touch while all is well, for a container's health check."
    )

    time_zone: str = Field(
        "UTC", description="The listener's time zone (`Europe/Berlin`): days and hours are those of its clocks."
    )
    counts_as_play: Literal["any", "30s", "half", "finished"] = Field(
        "any",
        description="What counts as a play in gold: `any`, `30s` heard, `half` of the track or four minutes,"
        " or `finished`. Silver keeps all.",
    )
    merge_sources: bool = Field(
        True, description="Whether rows of several sources that tell of the same play become one."
    )
    memory_mb: int = Field(
        2048, ge=256, description="Memory that DuckDB may use for a build (MiB); what needs more goes to disk."
    )

    host: str = Field("127.0.0.1", description="Address that the API, the dashboard and the writer's metrics bind to.")
    api_port: Port = Field(0, ge=0, le=65535, description="Port of the API; 0 chooses a free one and remembers it.")
    dashboard_port: Port = Field(0, ge=0, le=65535, description="Port of the dashboard; 0 as above.")
    broker_port: Port = Field(0, ge=0, le=65535, description="Embedded broker's port; 0 as above.")
    s3_port: Port = Field(0, ge=0, le=65535, description="Embedded object store's S3 port; 0 as above.")
    redis_port: Port = Field(0, ge=0, le=65535, description="Embedded cache's port; 0 as above.")

    kafka_bootstrap: str | None = Field(
        None, description="Kafka bootstrap servers, `host:port[,host:port]`. Chosen by playlake when embedded."
    )
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="How to talk to Kafka. `SASL_SSL` for Confluent Cloud."
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "PLAIN", description="SASL mechanism, where the security protocol has SASL."
    )
    kafka_sasl_username: str | None = Field(None, description="SASL user, or Confluent API key.")
    kafka_sasl_password: SecretStr | None = Field(None, description="SASL password, or Confluent API secret.")
    kafka_partitions: int = Field(4, ge=1, le=1000, description="Partitions of a topic that playlake creates.")
    kafka_replication: int = Field(1, ge=1, le=10, description="Replicas of a topic that playlake creates.")
    kafka_group: str = Field(
        "playlake-lake",
        min_length=1,
        description="Consumer group of the lake writer. Lakes that share a broker need one each.",
    )
    kafka_session_s: float = Field(
        6.0,
        ge=1,
        le=300,
        description="Session timeout of the lake writer's consumer group, in seconds: the time after which the"
        " partitions of a writer that crashed are assigned to another. On the embedded broker a writer that joins waits"
        " half of it.",
    )
    kafka_timeout_s: float = Field(
        10.0, gt=0, allow_inf_nan=False, description="How long to wait for the broker before saying it is down."
    )

    s3_endpoint: str | None = Field(
        None, description="URL of an S3-compatible store; none means AWS. Chosen by playlake when embedded."
    )
    s3_region: str = Field("us-east-1", description="S3 region.")
    s3_bucket: str = Field("playlake", description="Bucket that holds the lake.")
    s3_access_key: SecretStr | None = Field(None, description="S3 access key id. Made by playlake when embedded.")
    s3_secret_key: SecretStr | None = Field(None, description="S3 secret key. Made by playlake when embedded.")

    redis_url: SecretStr | None = Field(
        None, description="Redis URL, `redis://[:password@]host:port/0`. Chosen by playlake when embedded."
    )
    cache_ttl_s: int = Field(3600, ge=1, description="How long the API keeps a track's recommendations in Redis.")

    flush_rows: int = Field(100, ge=1, description="Rows after which the writer flushes a topic it keeps up with.")
    flush_seconds: float = Field(
        60.0, gt=0, allow_inf_nan=False, description="Age of the oldest buffered row at which a topic is flushed."
    )
    flush_bytes: int = Field(32 * 1024 * 1024, ge=1024, description="Buffered bytes at which a topic is flushed.")
    catchup_rows: int = Field(
        80_000, ge=1, description="Rows of one flush while the writer is behind (fewer, larger files)."
    )

    checkpoint_versions: int = Field(
        100, ge=1, description="Versions of a table after which its log is written as one file, a checkpoint."
    )

    embedded_log_batches: int = Field(
        2000,
        ge=1,
        description="Batches that the embedded broker keeps of what has landed, in each partition.",
    )

    metrics_port: Port = Field(
        0, ge=0, le=65535, description="Port on which `playlake land` serves Prometheus metrics; 0 is off."
    )

    max_lag_s: float = Field(
        3600.0, gt=0, description="Age of a message not landed at which `lake pending --check` finds the lake stale."
    )
    max_refused_share: float = Field(
        0.05, ge=0, le=1, description="Share of refused messages at which `lake arrived --check` fails (0 to 1)."
    )
    alert_urls: SecretStr | None = Field(
        None,
        description="Where alerts go beside the log, as Apprise URLs with blanks between: a webhook is"
        " `jsons://host/path`, e-mail `mailtos://user:password@host?to=someone@example.org`.",
    )
    alert_on: Literal["all", "failure"] = Field("all", description="Which alerts are sent; the log has all of them.")

    @field_validator("home", "inbox", "heartbeat")
    @classmethod
    def _as_given(cls, path: Path | None) -> Path | None:
        try:
            return None if path is None else given_path(path)
        except UsageError as error:
            raise ValueError(str(error)) from error

    @field_validator("s3_bucket")
    @classmethod
    def _is_bucket(cls, name: str) -> str:
        if not re.fullmatch(_BUCKET, name):
            raise ValueError(
                f"{name!r} is no name of a bucket: 3 to 63 of a-z, 0-9, . and -, a letter or digit at both ends"
            )
        return name

    @model_validator(mode="after")
    def _contradictions(self) -> Self:
        problems: list[str] = []
        if self.profile != "embedded":
            needed = {
                "KAFKA_BOOTSTRAP": self.kafka_bootstrap,
                "REDIS_URL": self.redis_url,
                "S3_ACCESS_KEY": self.s3_access_key,
                "S3_SECRET_KEY": self.s3_secret_key,
            }
            if self.profile == "containers":
                needed["S3_ENDPOINT"] = self.s3_endpoint
            problems += [
                f"{PREFIX}{name} is missing: the profile `{self.profile}` needs it"
                for name, value in needed.items()
                if not value
            ]
            problems += [
                f"{PREFIX}{name.upper()} is set, but only the profile `embedded` starts servers of its own"
                for name in ("broker_port", "s3_port", "redis_port")
                if getattr(self, name)
            ]
        if self.kafka_security_protocol.startswith("SASL"):
            problems += [
                f"{PREFIX}{name} is missing: {PREFIX}KAFKA_SECURITY_PROTOCOL={self.kafka_security_protocol} needs it"
                for name, value in (
                    ("KAFKA_SASL_USERNAME", self.kafka_sasl_username),
                    ("KAFKA_SASL_PASSWORD", self.kafka_sasl_password),
                )
                if not value
            ]
        if self.profile == "cloud" and self.kafka_security_protocol in {"PLAINTEXT", "SASL_PLAINTEXT"}:
            problems.append(
                f"{PREFIX}KAFKA_SECURITY_PROTOCOL={self.kafka_security_protocol} sends data and passwords in the clear:"
                " the profile `cloud` needs SSL or SASL_SSL"
            )
        if wrong := _unusable(str(self.home_path)):
            problems.append(f"{PREFIX}HOME={str(self.home_path)!r} can't be used: {wrong}. Set it to another folder")
        if not _is_time_zone(self.time_zone):
            problems.append(f"{PREFIX}TIME_ZONE={self.time_zone[:40]!r} is no time zone: write one like Europe/Berlin")
        if self.s3_endpoint and not self.s3_endpoint.startswith(("http://", "https://")):
            problems.append(f"{PREFIX}S3_ENDPOINT must begin with http:// or https://")
        elif self.s3_endpoint and not _is_address(self.s3_endpoint, port=False):
            problems.append(f"{PREFIX}S3_ENDPOINT names no host, or no port from 1 to 65535: write http://host:port")
        if self.kafka_bootstrap and not all(
            _is_address(f"//{one.strip()}", port=True) for one in self.kafka_bootstrap.split(",")
        ):
            problems.append(f"{PREFIX}KAFKA_BOOTSTRAP is no list of servers: write host:port, with commas between")
        if not self.listener.strip():
            problems.append(f"{PREFIX}LISTENER={self.listener!r} is blank and can't name a listener")
        if self.redis_url and not self.redis_url.get_secret_value().startswith(("redis://", "rediss://")):
            problems.append(f"{PREFIX}REDIS_URL must begin with redis:// or rediss://")
        elif self.redis_url and not _has_port(self.redis_url.get_secret_value()):
            problems.append(f"{PREFIX}REDIS_URL names no port from 1 to 65535")
        servers = ("api_port", "dashboard_port", "metrics_port", "broker_port", "s3_port", "redis_port")
        ports = [(n, getattr(self, n)) for n in servers]
        fixed = [(n, p) for n, p in ports if p]
        problems += [
            f"{PREFIX}{a.upper()} and {PREFIX}{b.upper()} are both {p}: two servers can't share a port"
            for i, (a, p) in enumerate(fixed)
            for b, q in fixed[i + 1 :]
            if p == q
        ]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @property
    def home_path(self) -> Path:
        """The home folder, absolute."""
        return self.home.resolve()

    def require_store(self) -> None:
        """See that there is an object store to talk to, before a client looks for one elsewhere.

        :raises UnavailableError: when the embedded stack does not run.
        """
        if self.profile == "embedded" and not self.s3_endpoint:
            raise UnavailableError(
                "The embedded stack is not running. Start it with `playlake up`, then run this again."
            )

    def environment(self) -> dict[str, str]:
        """These settings as environment variables, secrets included, for a process of ours: never for a log."""
        values = {name: getattr(self, name) for name in type(self).model_fields} | {"home": self.home_path}
        return {
            f"{PREFIX}{name.upper()}": value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            for name, value in values.items()
            if value is not None
        }


def _unusable(home: str) -> str | None:
    """Why a program that we start can't work below this folder."""
    if "?" in home:
        return "DuckDB takes what stands before the question mark for the name of a file"
    if any(not c.isprintable() for c in home):
        return "it holds a character that can't be printed"
    return None


def _is_time_zone(name: str) -> bool:
    """Whether Python and DuckDB both know the zone: ``localtime`` and ``posix/…`` are files of some machines only."""
    return name == "UTC" or (name in _zones() and name != "localtime")


@functools.cache
def _zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


def _is_address(url: str, *, port: bool) -> bool:
    """Whether a URL names a host, and a port where it is to."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0 and (parts.port is not None or not port) and " " not in url
    except ValueError:
        return False


def _has_port(url: str) -> bool:
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False


def _stray_variables(names: set[str]) -> list[str]:
    """Variables that begin like ours but are none: a typing error that would else be silently without effect."""
    known = {name.upper() for name in Settings.model_fields} | {failpoints.VARIABLE.removeprefix(PREFIX)}
    strays = sorted(n for n in names if n.upper().startswith(PREFIX) and n.upper()[len(PREFIX) :] not in known)
    found = []
    for name in strays:
        near = difflib.get_close_matches(name.upper()[len(PREFIX) :], known, n=1)
        found.append(f"{name} is no setting" + (f"; did you mean {PREFIX}{near[0]}?" if near else ""))
    return found


def _dotenv(path: Path) -> dict[str, str | None]:
    if not path.is_file():
        return {}
    try:
        return dotenv_values(path)
    except UnicodeDecodeError as error:
        raise UsageError(f"{path.resolve()} is not UTF-8 text ({error.reason}). Save it as UTF-8.") from None


def _try(values: dict[str, Any]) -> tuple[Settings | None, list[str]]:
    try:
        return Settings(**values), []
    except ValidationError as error:
        problems: list[str] = []
        for item in error.errors(include_url=False):
            where = "_".join(str(part) for part in item["loc"])
            text = item["msg"].removeprefix("Value error, ")
            if item["type"].startswith(("greater_than", "less_than", "literal")):  # a number or a word: no secret
                text += f", not {str(item['input'])[:60]!r}"
            problems += [f"{PREFIX}{where.upper()}: {text}"] if where else text.split("\n")
        return None, problems


def _is_of(name: str, problem: str) -> bool:
    return problem.startswith(f"{PREFIX}{name.upper()}: ")


_CHOSEN = ("KAFKA_BOOTSTRAP", "S3_ENDPOINT", "S3_ACCESS_KEY", "S3_SECRET_KEY", "REDIS_URL")
"""What the embedded stack chooses itself."""


def _not_heeded(given: dict[str, str | None]) -> list[str]:
    """Addresses or keys that a person gave and the embedded stack would not heed."""
    values = {name.upper(): value for name, value in given.items()}
    if values.get(f"{PREFIX}PROFILE") not in (None, "", "embedded"):
        return []
    return [
        f"{PREFIX}{name} can't be set in the profile `embedded`, whose servers playlake starts itself:"
        f" leave it out, or set {PREFIX}PROFILE to containers or cloud"
        for name in _CHOSEN
        if values.get(f"{PREFIX}{name}")
    ]


def load_settings(*, by_a_person: bool = False, **overrides: Any) -> Settings:
    """Build the settings from the environment, ``.env`` and ``overrides`` (the command line's own options).

    :param by_a_person: whether they come from outside: then they must not name addresses of embedded servers, which
        playlake gives to processes of its own.
    :raises UsageError: one message with every problem in it.
    """
    dotenv = overrides.get("_env_file", ".env")
    given = {**(_dotenv(Path(dotenv)) if dotenv else {}), **os.environ}
    problems = _stray_variables(set(given)) + (_not_heeded(given) if by_a_person else [])
    settings, found = _try(overrides)
    if settings is None:
        problems += found
        wrong = {n: f.default for n, f in Settings.model_fields.items() if any(_is_of(n, p) for p in found)}
        # Once more with the wrong values left out: what contradicts itself shows only where each value is one.
        problems += [p for p in _try({**overrides, **wrong})[1] if p not in problems]
    if problems or settings is None:
        lines = "\n".join(f"  {p}" for p in problems)
        raise UsageError(f"The settings can't be used (environment or .env; see docs/configuration.md):\n{lines}")
    return settings
