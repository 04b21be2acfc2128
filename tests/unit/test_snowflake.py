"""What is sent to Snowflake, as text: names, keys, columns, files, and the whole of `cloud setup`."""

from __future__ import annotations

import base64
import json
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlglot
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import exp

from playlake.errors import UsageError
from playlake.lake import tables
from playlake.lake.schema import PARTITION_COLUMNS
from playlake.settings import Settings, load_settings
from playlake.warehouse.snowflake import bronze, ddl, keys, sql
from playlake.warehouse.snowflake.options import Snowflake, load_snowflake
from playlake.warehouse.snowflake.setup import SCHEMAS, statements, trust_policy
from tests.support.commands import Cli
from tests.support.post_server import PostServer

ARN = "arn:aws:iam::123456789012:role/playlake"
CLOUD: dict[str, Any] = {
    "profile": "cloud",
    "kafka_bootstrap": "broker.example.org:9092",
    "kafka_security_protocol": "SSL",
    "redis_url": "rediss://cache.example.org:6379/0",
    "s3_access_key": "AKIAEXAMPLE",
    "s3_secret_key": "s3-secret-of-nobody",
    "s3_bucket": "listening-of-mine",
}


def cloud_settings(home: Path) -> Settings:
    return load_settings(_env_file=None, home=home, **CLOUD)


def options(**values: object) -> Snowflake:
    return Snowflake(_env_file=None, **{"account": "org-acct", "aws_role_arn": ARN, **values})  # type: ignore[arg-type]


@given(st.text(max_size=40))
def test_a_literal_is_one_string_to_snowflake_whatever_it_holds(text: str) -> None:
    parsed = sqlglot.parse_one(f"SELECT {sql.literal(text)}", read="snowflake")
    assert len(parsed.expressions) == 1
    assert isinstance(parsed.expressions[0], exp.Literal)
    if "\\" not in text:  # sqlglot keeps some escapes as they are written
        assert parsed.expressions[0].this == text


@pytest.mark.parametrize("name", ["", "1st", "my db", 'a"b', "a;b", "x'--", "ü", "a" * 256])
def test_a_name_that_would_need_quotes_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("DATABASE", "ROLE", "USER", "WAREHOUSE"):
        monkeypatch.setenv(f"SNOWFLAKE_{variable}", name)
    if not name:  # an empty variable is none
        assert load_snowflake().database == "SPOTIFY_DATA"
        return
    with pytest.raises(UsageError) as error:
        load_snowflake()
    for variable in ("DATABASE", "ROLE", "USER", "WAREHOUSE"):
        assert f"SNOWFLAKE_{variable}: must be letters" in str(error.value)


def test_settings_that_are_wrong_are_told_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNOWFLAKE_ACCOUNT", "https://org-acct.snowflakecomputing.com")
    monkeypatch.setenv("SNOWFLAKE_PROTOCOL", "http")
    monkeypatch.setenv("SNOWFLAKE_AWS_ROLE_ARN", "playlake")
    with pytest.raises(UsageError) as error:
        load_snowflake()
    assert [p in str(error.value) for p in ("organization-account", "in the clear", "is no role")] == [True] * 3


@pytest.mark.parametrize("passphrase", [None, "a pass phrase"])
def test_a_key_pair_is_made_once_and_for_its_owner_only(tmp_path: Path, passphrase: str | None) -> None:
    path = tmp_path / "run" / "key.p8"
    assert keys.make(path, passphrase)
    made = path.read_bytes()
    assert not keys.make(path, passphrase)
    assert path.read_bytes() == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["key.p8"]
    public = serialization.load_der_public_key(base64.b64decode(keys.public(path, passphrase)))
    private = serialization.load_der_private_key(keys.private(path, passphrase), None)
    assert private.public_key() == public
    if passphrase:
        with pytest.raises(UsageError, match="not its passphrase") as error:
            keys.public(path, "another")
        assert "another" not in str(error.value)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    home = load_settings(_env_file=None, home=tmp_path)
    path = options().key_file(home)
    with pytest.raises(UsageError, match="There is no private key"):
        options().require_key(home)
    keys.make(path, None)
    assert options().require_key(home) == path
    path.chmod(0o640)
    with pytest.raises(UsageError, match="chmod 600"):
        options().require_key(home)


@pytest.mark.parametrize("folder", tables.schemas())
def test_each_column_of_the_lake_is_one_of_the_external_table(folder: str) -> None:
    schema = tables.schemas()[folder]
    assert ddl.FOLDERS == PARTITION_COLUMNS
    parsed = sqlglot.parse_one(ddl.table(options(), folder, schema), read="snowflake")
    columns = list(parsed.find_all(exp.ColumnDef))
    assert [c.name for c in columns] == schema.names
    made = ddl.table(options(), folder, schema)
    for field in schema:
        if field.name in PARTITION_COLUMNS:
            assert f"{field.name} VARCHAR AS (SPLIT_PART(SPLIT_PART(METADATA$FILENAME, '{field.name}=', 2)" in made
        else:
            assert f'{field.name} {sql.column_type(field.type)} AS (VALUE:"{field.name}"::' in made
    assert "AUTO_REFRESH = FALSE" in made
    assert "REFRESH_ON_CREATE = FALSE" in made
    assert f"LOCATION = @SPOTIFY_DATA.BRONZE.BRONZE_STAGE/{folder}/" in made


_FILES = st.frozensets(st.integers(0, 3000).map(lambda n: f"year=2025/month=11/day=18/hour=14/part-{n}.parquet"))


@given(has=_FILES, wanted=_FILES)
def test_the_changes_lead_from_the_files_there_are_to_those_wanted(has: frozenset[str], wanted: frozenset[str]) -> None:
    now = set(has)
    for statement in bronze.changes(options(), "bronze/plays", has, dict.fromkeys(wanted, 1)):
        head, _, listed = statement.partition(" FILES ")
        files = {f.strip("'") for f in listed.strip("()").split(", ")}
        assert len(files) <= 500
        if head == "ALTER EXTERNAL TABLE SPOTIFY_DATA.BRONZE.PLAYS REMOVE":
            assert files <= now
            now -= files
        else:
            assert head == "ALTER EXTERNAL TABLE SPOTIFY_DATA.BRONZE.PLAYS ADD"
            assert not files & now
            now |= files
    assert now == wanted


def test_a_file_is_known_by_its_path_below_the_table() -> None:
    path = "year=2025/month=11/day=18/hour=14/part-1.parquet"
    for before in ("", "bronze/plays/", "prefix/bronze/plays/", "s3://bucket/bronze/plays/"):
        assert bronze.below("bronze/plays", before + path) == path


_BARE = {"ALTER RESOURCE", "ALTER STAGE", "ALTER STORAGE", "ALTER USER", "ALTER WAREHOUSE", "CREATE CATALOG",
         "CREATE EXTERNAL", "CREATE RESOURCE", "CREATE ROLE", "CREATE USER", "GRANT ROLE", "GRANT USAGE"}  # fmt: skip
"""What sqlglot takes as a command without looking inside."""


@pytest.mark.parametrize("how", ["external", "delta", "loaded"])
def test_every_statement_of_the_setup_can_be_read_and_run_again(how: str, tmp_path: Path) -> None:
    made = statements(cloud_settings(tmp_path), options(bronze=how), tables.schemas(), "MIIBIjANBg==")
    for one in made:
        parsed = sqlglot.parse(one.sql, read="snowflake")
        assert len(parsed) == 1, one.sql
        if isinstance(parsed[0], exp.Command):
            assert " ".join(one.sql.split()[:2]) in _BARE, one.sql
        words = one.sql.split()
        assert words[0] != "CREATE" or "IF NOT EXISTS" in one.sql, one.sql
        assert "REPLACE" not in words
        assert one.title
    text = "\n".join(s.sql for s in made)
    for schema in SCHEMAS:
        assert f"CREATE SCHEMA IF NOT EXISTS SPOTIFY_DATA.{schema}" in text
    assert text.count("TABLE IF NOT EXISTS") == len(tables.schemas()) + 1
    if how != "loaded":
        assert "WAREHOUSE_SIZE = XSMALL AUTO_SUSPEND = 60" in text
        assert "CREDIT_QUOTA = 15" in text
        assert "RSA_PUBLIC_KEY = 'MIIBIjANBg=='" in text
        assert f"'{ARN}'" in text
    assert ("CREATE STORAGE INTEGRATION" in text) == (how == "external")
    if how == "external":
        # What was made for another bucket is made to show this one, after the integration lets it.
        to_bucket = ["ALTER STORAGE INTEGRATION", "CREATE STAGE IF NOT EXISTS", "ALTER STAGE SPOTIFY_DATA.BRONZE"]
        places = [next(n for n, s in enumerate(made) if s.sql.startswith(words)) for words in to_bucket]
        assert places == sorted(places)
        assert all("'s3://listening-of-mine/'" in made[n].sql for n in places)
        assert made[places[-1]].sql.endswith("SET URL = 's3://listening-of-mine/' STORAGE_INTEGRATION = PLAYLAKE_S3")
    assert ("TABLE_FORMAT = DELTA" in text) == (how == "delta")


def test_a_dry_run_prints_a_script_without_a_secret_and_connects_to_nothing(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "home", **CLOUD)
    cli.env |= {"SNOWFLAKE_AWS_ROLE_ARN": ARN}
    done = cli("cloud", "setup", "--dry-run")  # the account is not in the SQL, so it need not be known
    assert cli("cloud", "setup", "--dry-run").out == done.out
    key = tmp_path / "home" / "run" / "snowflake_key.p8"
    assert keys.public(key, None) in done.out
    assert "s3-secret-of-nobody" not in done.out
    assert "AKIAEXAMPLE" not in done.out
    assert key.read_text().splitlines()[1] not in done.out
    assert "'s3://listening-of-mine/'" in done.out
    assert len(sqlglot.parse(done.out, read="snowflake")) == len(cli.json("cloud", "setup", "--dry-run")["statements"])


@pytest.mark.parametrize(
    ("environment", "command", "says"),
    [
        ({}, ("build",), "Start it with `playlake up`"),
        ({}, ("cloud", "status"), "SNOWFLAKE_ACCOUNT is not set"),
        ({"SNOWFLAKE_ACCOUNT": "org-acct"}, ("cloud", "status"), "There is no private key"),
        ({"SNOWFLAKE_AWS_ROLE_ARN": ARN}, ("cloud", "setup"), "SNOWFLAKE_ACCOUNT is not set"),
        ({}, ("cloud", "setup", "--dry-run"), "SNOWFLAKE_AWS_ROLE_ARN is not set"),
        ({"SNOWFLAKE_ACCOUNT": "org-acct"}, ("cloud", "setup"), "SNOWFLAKE_AWS_ROLE_ARN is not set"),
        (
            {"SNOWFLAKE_ACCOUNT": "org-acct", "SNOWFLAKE_AWS_ROLE_ARN": ARN},
            ("cloud", "setup"),
            "SNOWFLAKE_ADMIN_USER",
        ),
        ({"PLAYLAKE_TARGET": "moon"}, ("build",), "PLAYLAKE_TARGET"),
    ],
)
def test_what_is_missing_is_named(
    tmp_path: Path, environment: dict[str, str], command: tuple[str, ...], says: str
) -> None:
    cli = Cli(tmp_path / "home", **({} if command == ("build",) else CLOUD))
    cli.env |= environment
    done = cli(*command, check=None)
    assert done.code == (1 if "playlake up" in says else 2), done.err
    assert says in done.err
    assert len(done.err.strip().splitlines()) <= 3


def test_the_trust_policy_is_what_aws_takes() -> None:
    policy = json.loads(trust_policy("arn:aws:iam::1:user/x", "ID_SFCRole=1"))
    assert policy["Statement"][0]["Principal"] == {"AWS": "arn:aws:iam::1:user/x"}
    assert policy["Statement"][0]["Condition"] == {"StringEquals": {"sts:ExternalId": "ID_SFCRole=1"}}


@pytest.mark.parametrize(
    ("code", "exit_code", "says"),
    [
        ("390144", 1, "refused the user PLAYLAKE"),
        ("404", 2, "There is no Snowflake account 'org-acct'"),
    ],
)
def test_a_refused_login_is_a_line_or_two(tmp_path: Path, code: str, exit_code: int, says: str) -> None:
    """The server answers a login as Snowflake's documentation says it refuses one."""
    body = {"data": {}, "code": code, "message": "No.", "success": False, "headers": None}
    server = PostServer(lambda _: (404 if code == "404" else 200, body))
    cli = Cli(tmp_path / "home", **CLOUD)
    keys.make(tmp_path / "home" / "run" / "snowflake_key.p8", None)
    cli.env |= {"SNOWFLAKE_ACCOUNT": "org-acct", "SNOWFLAKE_HOST": "127.0.0.1", "SNOWFLAKE_PROTOCOL": "http"}
    cli.env["SNOWFLAKE_PORT"] = str(server.port)
    with closing(server):
        done = cli("cloud", "status", check=exit_code)
    assert says in done.err
    assert len(done.err.strip().splitlines()) <= 3
