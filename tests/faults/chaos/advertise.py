"""`playlake up ADDRESS …`: with a broker that tells its clients to come to an address, where a proxy is."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from playlake.cli import main
from playlake.stack import servers


def advertise(address: str) -> None:
    """Start brokers so from now on."""
    launch = servers.broker

    def advertised(port: int, s3_port: int, keys: Mapping[str, str]) -> servers.Launch:
        made = launch(port, s3_port, keys)
        made.command[made.command.index("--advertised-listener-url") + 1] = f"tcp://{address}"
        return made

    servers.broker = advertised


if __name__ == "__main__":
    advertise(sys.argv.pop(1))
    sys.argv.insert(1, "up")
    main()
