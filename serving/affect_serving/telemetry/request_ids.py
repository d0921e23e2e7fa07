"""Request ids: the caller's own where it is safe to log and to return, else a random one."""

import random
import re
from typing import Final

_ACCEPTED: Final = re.compile(r"[\x21-\x7e]{1,128}")

# Seeded by the operating system once. Ids need not be secret, and a system call for each would release Python's lock to
# decoding threads.
_random: Final = random.Random()  # noqa: S311


def request_id(given: str) -> str:
    """Return the id for a request: ``given`` if that is short and printable, else a new id."""
    return given if _ACCEPTED.fullmatch(given) else random_hex(32)


def random_hex(digits: int) -> str:
    """Return a random number of ``digits`` hexadecimal digits, for use as a unique id."""
    return f"{_random.getrandbits(4 * digits):0{digits}x}"
