"""Starting, watching and stopping the embedded servers, and the processes that serve."""

from playlake.stack.addresses import attach
from playlake.stack.embedded import EmbeddedStack, Up

__all__ = ["EmbeddedStack", "Up", "attach"]
