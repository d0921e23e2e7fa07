"""What every client is told alike, and what it may be."""

import math
from typing import Final

DEFAULT_TIMEOUT_S: Final = 10.0
DEFAULT_RETRIES: Final = 2


def require_sound(timeout_s: float, retries: int, api_key: str | None) -> None:
    """Refuse, before anything is sent, what no call could be made with.

    Raises:
        ValueError: an option is out of range; the text does not repeat the key.
    """
    if not 0 < timeout_s < math.inf:
        raise ValueError(f"timeout_s is {timeout_s}: give a number of seconds above 0")
    if retries < 0:
        raise ValueError(f"retries is {retries}: give 0 to send nothing twice, or more")
    if api_key is not None:
        require_key(api_key)


def require_key(api_key: str) -> None:
    """Refuse what no header can hold.

    Raises:
        ValueError: it is such; the text does not repeat it.
    """
    if not (api_key.isascii() and api_key.isprintable() and api_key == api_key.strip()):
        raise ValueError("api_key holds what no key does, perhaps the end of a line: strip it")


def bearer(api_key: str) -> str:
    """The value of the ``Authorization`` header or metadata."""
    return f"Bearer {api_key}"
