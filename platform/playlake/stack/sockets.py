"""The sockets that SeaweedFS leaves behind when it is killed."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path

import psutil

from playlake.stack import process
from playlake.stack.servers import STORE_PORTS

_GRPC_PORT = re.compile(r"-(master|volume|filer|s3)\.port\.grpc=(\d+)")


def end_leftovers(left: list[psutil.Process]) -> None:
    """Stop processes that no record names, with their sockets, of which the command line tells the ports."""
    found_sockets = []
    for found in left:
        with contextlib.suppress(psutil.Error):
            found_sockets += [_socket(*m.groups()) for a in found.cmdline() if (m := _GRPC_PORT.fullmatch(a))]
    process.stop(left)
    for path in found_sockets:
        path.unlink(missing_ok=True)


def _socket(role: str, port: object) -> Path:
    """The gRPC socket that SeaweedFS makes in /tmp, named by port, and leaves behind when it is killed."""
    return Path(f"/tmp/seaweedfs-{role}-grpc-{port}.sock")  # noqa: S108


def clear(ports: Mapping[str, int]) -> None:
    """Remove the sockets of a store that has these ports and does not run."""
    for key in STORE_PORTS:
        if key.endswith("_grpc") and key in ports:
            _socket(key.removesuffix("_grpc"), ports[key]).unlink(missing_ok=True)
