"""The id of a request: the caller's own, where it is one that can be logged and returned."""

import random
import re
from typing import Final

_ACCEPTED: Final = re.compile(r"[\x21-\x7e]{1,128}")

# Seeded by the system. Names need not be secret, and asking the system for each gives Python's lock away, to threads
# that decode.
_names: Final = random.Random()  # noqa: S311


def request_id(given: str) -> str:
    """What a request is called: ``given`` if it is short and printable, else a new id."""
    return given if _ACCEPTED.fullmatch(given) else new_name(32)


def new_name(digits: int) -> str:
    """A name that nothing else has, of ``digits`` hexadecimal digits."""
    return f"{_names.getrandbits(4 * digits):0{digits}x}"
