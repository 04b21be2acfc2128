"""The command playlake with what no option of it says. Run as a file: `programs.py up ADDRESS …`, `land GROUP …`."""

from __future__ import annotations

import sys
from collections.abc import Mapping


def up(address: str) -> None:
    """`playlake up` with a broker that tells its clients to come to ``address``, where a proxy is."""
    from playlake.stack import servers

    launch = servers.broker

    def advertised(port: int, s3_port: int, keys: Mapping[str, str]) -> servers.Launch:
        made = launch(port, s3_port, keys)
        made.command[made.command.index("--advertised-listener-url") + 1] = f"tcp://{address}"
        return made

    servers.broker = advertised


def land(group: str) -> None:
    """`playlake land` as a member of another consumer group."""
    from playlake.lake.writer import Writer

    defaults = Writer.__init__.__kwdefaults__
    assert defaults
    defaults["group"] = group


if __name__ == "__main__":
    name, value, *rest = sys.argv[1:]
    {"up": up, "land": land}[name](value)
    sys.argv = ["playlake", name, *rest]
    from playlake.cli import main

    main()
