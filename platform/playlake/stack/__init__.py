"""Starting, watching and stopping the embedded servers, and the processes that serve."""

from typing import TYPE_CHECKING, Any

from playlake.stack.addresses import attach

if TYPE_CHECKING:
    from playlake.stack.embedded import EmbeddedStack, Up

__all__ = ["EmbeddedStack", "Up", "attach"]


def __getattr__(name: str) -> Any:
    """Import the stack when it is asked for (PEP 562): most commands only want addresses, and it knows every server."""
    if name in __all__:
        from playlake.stack import embedded

        return getattr(embedded, name)
    raise AttributeError(name)
