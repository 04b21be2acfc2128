"""The settings of those who use the embedded servers: where these listen, and their keys."""

from __future__ import annotations

from pydantic import SecretStr

from playlake.settings import Settings
from playlake.stack.ports import LOOPBACK
from playlake.stack.servers import SERVERS
from playlake.stack.state import Home, State


def attach(settings: Settings) -> Settings:
    """The settings with the addresses and keys of the embedded servers, if any runs."""
    if settings.profile != "embedded":
        return settings
    home = Home(settings.home_path)
    state = home.load()
    if not any(state.alive(name) for name in SERVERS):
        return settings  # those who need a server say that the stack is not running
    return with_addresses(settings, state, home.keys())


def with_addresses(settings: Settings, state: State, keys: dict[str, str]) -> Settings:
    """The settings with all addresses, also before all servers have their ports (0 until then)."""
    port = {"broker": 0, "cache": 0, "s3": 0, **state.ports}
    return settings.model_copy(
        update={
            "kafka_bootstrap": f"{LOOPBACK}:{port['broker']}",
            "s3_endpoint": f"http://{LOOPBACK}:{port['s3']}",
            "s3_access_key": SecretStr(keys["s3_access_key"]),
            "s3_secret_key": SecretStr(keys["s3_secret_key"]),
            "redis_url": SecretStr(f"redis://:{keys['redis_password']}@{LOOPBACK}:{port['cache']}/0"),
        }
    )
