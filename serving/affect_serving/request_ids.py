"""The id of a request: the caller's own, where it is one that can be logged and returned."""

import re
import uuid
from typing import Final

_ACCEPTED: Final = re.compile(r"[\x21-\x7e]{1,128}")


def request_id(given: str) -> str:
    """What a request is called: ``given`` if it is short and printable, else a new id."""
    return given if _ACCEPTED.fullmatch(given) else uuid.uuid4().hex
