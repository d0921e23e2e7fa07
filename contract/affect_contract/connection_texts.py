"""The texts by which gRPC says that a call found no connection to go out on; UNAVAILABLE alone may mean more."""

from typing import Final

_NOT_CONNECTED: Final = (
    "connections to all backends failing",
    "failed to connect to all addresses",
    "dns resolution failed",
    "errors resolving",
)


def says_not_connected(details: str | None) -> bool:
    """Whether the text of an UNAVAILABLE call means that no server can have seen it."""
    return (details or "").lower().startswith(_NOT_CONNECTED)
