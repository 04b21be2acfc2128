"""What `playlake cloud setup` runs: everything the builds need in an account, each statement safe to run again.

Names are validated settings (:class:`~playlake.warehouse.snowflake.options.Snowflake`); no statement holds a secret.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from playlake.errors import UsageError
from playlake.settings import Settings
from playlake.warehouse.snowflake import ddl
from playlake.warehouse.snowflake.options import Snowflake
from playlake.warehouse.snowflake.sql import literal

SCHEMAS = ("RAW", "BRONZE", "SILVER", "GOLD")
INTEGRATION, VOLUME, CATALOG, MONITOR = "PLAYLAKE_S3", "PLAYLAKE_LAKE", "PLAYLAKE_DELTA", "PLAYLAKE"
"""Objects of the account, beside the user, the role, the warehouse and the database that are settings."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, and what it is for."""

    title: str
    sql: str


def statements(
    settings: Settings, options: Snowflake, schemas: Mapping[str, pa.Schema], public_key: str
) -> list[Statement]:
    """All statements in their order.

    :param schemas: by the lake's folder, the columns of its table.
    :raises UsageError: where Snowflake can't come to the lake's bucket.
    """
    if options.bronze == "loaded":
        # fakesnow has neither accounts nor rights nor a way to the bucket.
        return [*_database(options), *_schemas(options), *_tables(options, schemas)]
    if settings.s3_endpoint:
        raise UsageError(
            f"The lake is at {settings.s3_endpoint}, where Snowflake can't come: `cloud setup` needs it on AWS S3"
            " (PLAYLAKE_PROFILE=cloud)."
        )
    if not options.aws_role_arn:
        raise UsageError(
            "SNOWFLAKE_AWS_ROLE_ARN is not set: the AWS role through which Snowflake reads the bucket. docs/cloud.md"
            " says how to make one."
        )
    return [
        Statement("Rights to set things up", "USE ROLE ACCOUNTADMIN"),
        *_warehouse(options),
        *_access(options, public_key),
        *_database(options),
        *(_lake_by_stage if options.bronze == "external" else _lake_by_volume)(settings, options),
        Statement("From here on as the builds' role, which owns what is made", f"USE ROLE {options.role}"),
        Statement("Its warehouse", f"USE WAREHOUSE {options.warehouse}"),
        *_schemas(options),
        *_stage(settings, options),
        *_tables(options, schemas),
    ]


def _warehouse(options: Snowflake) -> list[Statement]:
    size = "WAREHOUSE_SIZE = XSMALL AUTO_SUSPEND = 60 AUTO_RESUME = TRUE"
    return [
        Statement(
            "A limit: the warehouse stops when the month's credits are used",
            f"CREATE RESOURCE MONITOR IF NOT EXISTS {MONITOR} WITH CREDIT_QUOTA = {options.credits}"
            " FREQUENCY = MONTHLY START_TIMESTAMP = IMMEDIATELY"
            " TRIGGERS ON 75 PERCENT DO NOTIFY ON 95 PERCENT DO SUSPEND ON 100 PERCENT DO SUSPEND_IMMEDIATE",
        ),
        Statement("The limit as set", f"ALTER RESOURCE MONITOR {MONITOR} SET CREDIT_QUOTA = {options.credits}"),
        Statement(
            "The smallest warehouse, suspended after a minute",
            f"CREATE WAREHOUSE IF NOT EXISTS {options.warehouse} WITH {size} INITIALLY_SUSPENDED = TRUE",
        ),
        Statement(
            "One that was there before has the same limits",
            f"ALTER WAREHOUSE {options.warehouse} SET {size} STATEMENT_TIMEOUT_IN_SECONDS = 3600"
            f" RESOURCE_MONITOR = {MONITOR}",
        ),
    ]


def _access(options: Snowflake, public_key: str) -> list[Statement]:
    return [
        Statement("The builds' role", f"CREATE ROLE IF NOT EXISTS {options.role}"),
        Statement("Administrators may act for it", f"GRANT ROLE {options.role} TO ROLE SYSADMIN"),
        Statement(
            "The builds' user: a key pair, no password", f"CREATE USER IF NOT EXISTS {options.user} TYPE = SERVICE"
        ),
        Statement(
            "Its public key and defaults; UTC, as times in the lake are",
            f"ALTER USER {options.user} SET RSA_PUBLIC_KEY = {literal(public_key)} DEFAULT_ROLE = {options.role}"
            f" DEFAULT_WAREHOUSE = {options.warehouse} TIMEZONE = 'UTC'",
        ),
        Statement("It has the role", f"GRANT ROLE {options.role} TO USER {options.user}"),
        Statement(
            "The role may use the warehouse", f"GRANT USAGE ON WAREHOUSE {options.warehouse} TO ROLE {options.role}"
        ),
    ]


def _database(options: Snowflake) -> list[Statement]:
    made = [Statement("The database", f"CREATE DATABASE IF NOT EXISTS {options.database}")]
    if options.bronze != "loaded":
        grant = f"GRANT USAGE, CREATE SCHEMA ON DATABASE {options.database} TO ROLE {options.role}"
        made.append(Statement("The role may make schemas in it", grant))
    return made


def _lake_by_stage(settings: Settings, options: Snowflake) -> list[Statement]:
    bucket, arn = literal(f"s3://{settings.s3_bucket}/"), literal(options.aws_role_arn or "")
    return [
        Statement(
            "The way to the bucket, by an AWS role instead of keys",
            f"CREATE STORAGE INTEGRATION IF NOT EXISTS {INTEGRATION} TYPE = EXTERNAL_STAGE STORAGE_PROVIDER = 'S3'"
            f" ENABLED = TRUE STORAGE_AWS_ROLE_ARN = {arn} STORAGE_ALLOWED_LOCATIONS = ({bucket})",
        ),
        Statement(
            "Its role and bucket as set; what AWS was told to trust stays the same",
            f"ALTER STORAGE INTEGRATION {INTEGRATION} SET ENABLED = TRUE STORAGE_AWS_ROLE_ARN = {arn}"
            f" STORAGE_ALLOWED_LOCATIONS = ({bucket})",
        ),
        Statement("The role may use it", f"GRANT USAGE ON INTEGRATION {INTEGRATION} TO ROLE {options.role}"),
    ]


def _lake_by_volume(settings: Settings, options: Snowflake) -> list[Statement]:
    bucket, arn = literal(f"s3://{settings.s3_bucket}/"), literal(options.aws_role_arn or "")
    return [
        Statement(
            "The way to the bucket, read-only",
            f"CREATE EXTERNAL VOLUME IF NOT EXISTS {VOLUME} STORAGE_LOCATIONS = ((NAME = 'lake' STORAGE_PROVIDER = 'S3'"
            f" STORAGE_BASE_URL = {bucket} STORAGE_AWS_ROLE_ARN = {arn})) ALLOW_WRITES = FALSE",
        ),
        Statement(
            "Delta's own log is the catalog",
            f"CREATE CATALOG INTEGRATION IF NOT EXISTS {CATALOG} CATALOG_SOURCE = OBJECT_STORE TABLE_FORMAT = DELTA"
            " ENABLED = TRUE",
        ),
        Statement("The role may use the volume", f"GRANT USAGE ON EXTERNAL VOLUME {VOLUME} TO ROLE {options.role}"),
        Statement("The role may use the catalog", f"GRANT USAGE ON INTEGRATION {CATALOG} TO ROLE {options.role}"),
    ]


def _schemas(options: Snowflake) -> list[Statement]:
    return [Statement(f"Schema {s}", f"CREATE SCHEMA IF NOT EXISTS {options.database}.{s}") for s in SCHEMAS]


def _stage(settings: Settings, options: Snowflake) -> list[Statement]:
    if options.bronze != "external":
        return []
    place = f"URL = {literal(f's3://{settings.s3_bucket}/')} STORAGE_INTEGRATION = {INTEGRATION}"
    return [
        Statement(
            "How the lake's files are read",
            f"CREATE FILE FORMAT IF NOT EXISTS {ddl.file_format(options)} TYPE = PARQUET USE_LOGICAL_TYPE = TRUE"
            " BINARY_AS_TEXT = FALSE",
        ),
        Statement("The bucket as a stage", f"CREATE STAGE IF NOT EXISTS {ddl.stage(options)} {place}"),
        Statement("One that was there before shows the same bucket", f"ALTER STAGE {ddl.stage(options)} SET {place}"),
    ]


def _tables(options: Snowflake, schemas: Mapping[str, pa.Schema]) -> list[Statement]:
    made = [Statement("Which Delta version each table of bronze holds", ddl.versions_table(options))]
    for folder, schema in schemas.items():
        made.append(Statement(f"The lake's {folder}", ddl.table(options, folder, schema)))
    return made


def trust_policy(user_arn: str, external_id: str) -> str:
    """The trust policy of the AWS role, with which it lets Snowflake in.

    https://docs.snowflake.com/en/user-guide/data-load-s3-config-storage-integration
    """
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": user_arn},
                "Action": "sts:AssumeRole",
                "Condition": {"StringEquals": {"sts:ExternalId": external_id}},
            }
        ],
    }
    return json.dumps(policy, indent=2)
