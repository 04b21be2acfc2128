"""Settings: where values come from, and that whatever is wrong with them is told at once and without secrets."""

from __future__ import annotations

import zoneinfo
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pydantic import ValidationError

from playlake.errors import UsageError
from playlake.paths import given_path
from playlake.settings import Settings, _is_time_zone, load_settings

SECRET = "hunter2-of-the-tests"


def set_all(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"PLAYLAKE_{name.upper()}", value)


def remote(**overrides: str) -> dict[str, str]:
    return {
        "profile": "containers",
        "kafka_bootstrap": "broker:9092",
        "redis_url": f"redis://:{SECRET}@cache:6379/0",
        "s3_endpoint": "http://store:9000",
        "s3_access_key": f"key-{SECRET}",
        "s3_secret_key": SECRET,
        **overrides,
    }


def problems(**overrides: Any) -> str:
    with pytest.raises(UsageError) as caught:
        load_settings(**overrides)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_nothing_need_be_set() -> None:
    settings = load_settings()
    assert settings.profile == "embedded"
    assert settings.home_path == Path.cwd() / ".playlake"


def test_containers_and_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, **remote())
    assert load_settings().profile == "containers"
    assert load_settings().kafka_bootstrap == "broker:9092"
    set_all(monkeypatch, profile="cloud", kafka_security_protocol="SASL_SSL")
    set_all(monkeypatch, kafka_sasl_username="me", kafka_sasl_password=SECRET)
    monkeypatch.delenv("PLAYLAKE_S3_ENDPOINT")  # none means AWS
    assert load_settings().profile == "cloud"


def test_environment_wins_over_dotenv(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("PLAYLAKE_S3_BUCKET=from-dotenv\nPLAYLAKE_S3_REGION=eu-north-1\nOTHER=1\n")
    monkeypatch.setenv("PLAYLAKE_S3_BUCKET", "from-environment")
    settings = load_settings()
    assert (settings.s3_bucket, settings.s3_region) == ("from-environment", "eu-north-1")


def test_overrides_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYLAKE_S3_BUCKET", "from-environment")
    assert load_settings(s3_bucket="given").s3_bucket == "given"


def test_every_missing_variable_of_a_profile_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, profile="containers", broker_port="9092")
    text = problems()
    for name in ("KAFKA_BOOTSTRAP", "REDIS_URL", "S3_ACCESS_KEY", "S3_SECRET_KEY", "S3_ENDPOINT"):
        assert f"PLAYLAKE_{name} is missing" in text
    assert "PLAYLAKE_BROKER_PORT is set" in text


def test_every_wrong_value_and_stray_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, log_level="loud", api_port="99999", flush_rows="0", kafka_timeout_s="soon", s3_buckte="x")
    text = problems()
    for name in ("LOG_LEVEL", "API_PORT", "FLUSH_ROWS", "KAFKA_TIMEOUT_S"):
        assert f"PLAYLAKE_{name}: " in text
    assert "PLAYLAKE_S3_BUCKTE is no setting" in text
    assert "less than or equal to 65535, not '99999'" in text
    assert "not 'loud'" in text


def test_wrong_values_do_not_hide_contradictions(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, log_level="loud", profile="containers")
    text = problems()
    assert "PLAYLAKE_LOG_LEVEL" in text
    assert "PLAYLAKE_KAFKA_BOOTSTRAP" in text


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"api_port": "8000", "s3_port": "8000"}, ["PLAYLAKE_API_PORT", "PLAYLAKE_S3_PORT"]),
        ({"s3_bucket": "Bad_Bucket!"}, ["PLAYLAKE_S3_BUCKET", "'Bad_Bucket!' is no name of a bucket"]),
        ({"flush_seconds": "inf"}, ["PLAYLAKE_FLUSH_SECONDS"]),
        ({"s3_endpoint": "store:9000"}, ["PLAYLAKE_S3_ENDPOINT"]),
        ({"redis_url": "http://cache"}, ["PLAYLAKE_REDIS_URL"]),
        (
            {"kafka_security_protocol": "SASL_SSL"},
            ["PLAYLAKE_KAFKA_SASL_USERNAME", "PLAYLAKE_KAFKA_SASL_PASSWORD"],
        ),
        (remote(profile="cloud"), ["PLAYLAKE_KAFKA_SECURITY_PROTOCOL=PLAINTEXT"]),
        (remote(redis_url="redis://cache:notaport"), ["PLAYLAKE_REDIS_URL names no port"]),
        (remote(kafka_bootstrap="broker"), ["PLAYLAKE_KAFKA_BOOTSTRAP is no list of servers"]),
        (remote(kafka_bootstrap="broker:9092,"), ["PLAYLAKE_KAFKA_BOOTSTRAP is no list of servers"]),
        (remote(s3_endpoint="http://"), ["PLAYLAKE_S3_ENDPOINT names no host"]),
        (remote(s3_endpoint="https://store:90000"), ["PLAYLAKE_S3_ENDPOINT names no host, or no port"]),
        ({"listener": "  "}, ["PLAYLAKE_LISTENER='  ' is blank"]),
        ({"time_zone": "localtime"}, ["PLAYLAKE_TIME_ZONE='localtime' is no time zone"]),
        ({"time_zone": "posix/Europe/Berlin"}, ["PLAYLAKE_TIME_ZONE"]),
        ({"time_zone": "right/UTC"}, ["PLAYLAKE_TIME_ZONE"]),
        ({"time_zone": "Europe"}, ["PLAYLAKE_TIME_ZONE"]),
        ({"home": "what?/home"}, ["PLAYLAKE_HOME=", "DuckDB takes what stands before the question mark"]),
        ({"home": "a\nb"}, ["PLAYLAKE_HOME=", "can't be printed"]),
        ({"inbox": "~nobody-of-this-name/inbox"}, ["PLAYLAKE_INBOX: ~nobody-of-this-name/inbox names a home folder"]),
    ],
)
def test_contradictions(monkeypatch: pytest.MonkeyPatch, values: dict[str, str], named: list[str]) -> None:
    set_all(monkeypatch, **values)
    text = problems()
    assert [name for name in named if name not in text] == []


def test_duckdb_knows_every_time_zone_that_is_accepted() -> None:
    accepted = [name for name in zoneinfo.available_timezones() if _is_time_zone(name)]
    assert {"UTC", "Europe/Berlin", "Asia/Kolkata"} < set(accepted)
    with duckdb.connect() as connection:
        for name in accepted:
            connection.execute(f"set timezone = '{name}'")


@pytest.mark.parametrize("text", ["~/lake", "~//lake", "~/sub/../lake"])
def test_paths_begin_at_the_home_folder_as_in_a_shell(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    set_all(monkeypatch, home=text, inbox=text, heartbeat=text)
    settings = load_settings()
    assert settings.home_path == Path("/home/somebody/lake")
    assert {settings.inbox, settings.heartbeat} == {Path("/home/somebody") / text.removeprefix("~").strip("/")}
    assert given_path(text) == settings.inbox


def test_addresses_are_not_for_the_embedded_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    load_settings(_env_file=None, by_a_person=True)
    set_all(monkeypatch, kafka_bootstrap="127.0.0.1:1", s3_secret_key="hidden", api_port="99999")
    with pytest.raises(UsageError) as caught:
        load_settings(_env_file=None, by_a_person=True)
    for name in ("KAFKA_BOOTSTRAP can't be set", "S3_SECRET_KEY can't be set", "API_PORT"):
        assert f"PLAYLAKE_{name}" in str(caught.value), "all in one message"
    assert "hidden" not in str(caught.value)
    monkeypatch.delenv("PLAYLAKE_API_PORT")
    load_settings(_env_file=None)  # as processes of playlake's own get them


def test_cloud_refuses_passwords_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, **remote(profile="cloud", kafka_security_protocol="SASL_PLAINTEXT"))
    set_all(monkeypatch, kafka_sasl_username="me", kafka_sasl_password=SECRET)
    text = problems()
    assert "PLAYLAKE_KAFKA_SECURITY_PROTOCOL" in text
    assert SECRET not in text


def test_stray_variable_did_you_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYLAKE_FLUSH_ROW", "5")
    assert "PLAYLAKE_FLUSH_ROW is no setting; did you mean PLAYLAKE_FLUSH_ROWS?" in problems()


def test_what_only_begins_like_a_setting_is_likened_to_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYLAKE_FOO", "5")
    assert "PLAYLAKE_FOO is no setting" in problems()
    assert "did you mean" not in problems()


def test_stray_variable_in_dotenv() -> None:
    Path(".env").write_text("PLAYLAKE_PROFIL=cloud\n")
    assert "PLAYLAKE_PROFIL is no setting; did you mean PLAYLAKE_PROFILE?" in problems()


def test_dotenv_that_is_not_utf8() -> None:
    Path(".env").write_bytes("PLAYLAKE_S3_BUCKET=Hörbücher\n".encode("latin-1"))
    assert "utf-8" in problems().lower()


def test_a_problem_does_not_show_values(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, **remote(redis_url=f"http://:{SECRET}@cache", kafka_timeout_s=SECRET))
    with pytest.raises(UsageError) as caught:
        load_settings()
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None  # a crash report would print those too


def test_frozen() -> None:
    settings = load_settings()
    with pytest.raises(ValidationError):
        settings.profile = "cloud"  # type: ignore[misc]
    assert settings.profile == "embedded"


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, **remote(), kafka_sasl_password=SECRET)
    settings = load_settings()
    for shown in (repr(settings), str(settings), settings.model_dump_json(), repr(settings.model_dump())):
        assert SECRET not in shown
    assert settings.s3_secret_key is not None
    assert settings.s3_secret_key.get_secret_value() == SECRET


def test_environment_round_trips(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    set_all(monkeypatch, **remote(flush_seconds="0.25", cache_ttl_s="7", home="somewhere", host="localhost"))
    settings = load_settings()
    expected = settings.model_dump() | {"home": tmp_path / "somewhere"}
    for name in Settings.model_fields:
        monkeypatch.delenv(f"PLAYLAKE_{name.upper()}", raising=False)
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert load_settings().model_dump() == expected  # the home stays where it was, wherever the process is started
