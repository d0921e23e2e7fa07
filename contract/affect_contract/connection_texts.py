"""The texts by which gRPC says that a call found no connection; UNAVAILABLE alone may also mean other failures."""

from typing import Final

_NOT_CONNECTED: Final = (
    "connections to all backends failing",
    "failed to connect to all addresses",
    "dns resolution failed",
    "errors resolving",
)


def says_not_connected(details: str | None) -> bool:
    """Whether the text of an UNAVAILABLE status means that no server can have received the call."""
    return (details or "").lower().startswith(_NOT_CONNECTED)
