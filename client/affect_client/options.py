"""The options that every client takes: their defaults, their checks, and the header made of the key."""

import math
from typing import Final

DEFAULT_TIMEOUT_S: Final = 10.0
DEFAULT_RETRIES: Final = 2


def validate_options(timeout_s: float, retries: int, api_key: str | None) -> None:
    """Check the options of a client before anything is sent.

    Raises:
        ValueError: an option is out of range; the message does not repeat the key.
    """
    if not 0 < timeout_s < math.inf:
        raise ValueError(f"timeout_s is {timeout_s}: give a number of seconds above 0")
    if retries < 0:
        raise ValueError(f"retries is {retries}: give 0 to send nothing twice, or more")
    if api_key is not None:
        validate_api_key(api_key)


def validate_api_key(api_key: str) -> None:
    """Check that a key can be sent in a header.

    Raises:
        ValueError: it cannot; the message does not repeat the key.
    """
    if not (api_key.isascii() and api_key.isprintable() and api_key == api_key.strip()):
        raise ValueError("api_key holds characters that no key has, such as a line break: strip it")


def bearer_authorization(api_key: str) -> str:
    """Return the value of the ``Authorization`` header or metadata that carries a key."""
    return f"Bearer {api_key}"
