"""W3C Trace Context: who asked, in the headers of whoever is asked next.

Source: https://www.w3.org/TR/trace-context/ (level 1).
"""

import re
from typing import Final, NamedTuple

from affect_serving.telemetry.request_ids import new_name

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"

_FORM: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[\x20-\x7e]*)?", re.ASCII)
_STATE: Final = re.compile(r"[\x20-\x7e]{1,512}")
_NO_VERSION: Final = "ff"


class TraceContext(NamedTuple):
    """The trace that a request belongs to."""

    trace_id: str
    """32 hexadecimal digits."""
    parent_id: str
    """16 hexadecimal digits: the span that asks."""
    flags: str
    """2 hexadecimal digits; the last bit says whether the caller records the trace."""
    state: str = ""
    """What vendors add, passed on as it came."""
    is_callers: bool = False
    """Whether the caller stated it."""

    @property
    def traceparent(self) -> str:
        """The header."""
        return f"00-{self.trace_id}-{self.parent_id}-{self.flags}"


def trace_context(traceparent: str, tracestate: str = "") -> TraceContext:
    """The caller's trace, or where it states none that is valid, a new one that nobody records."""
    match = _FORM.fullmatch(traceparent)
    if not match or not _is_valid(*match.groups()):
        return TraceContext(new_name(32), new_name(16), "00")
    _, trace_id, parent_id, flags, _ = match.groups()
    return TraceContext(trace_id, parent_id, flags, tracestate if _STATE.fullmatch(tracestate) else "", is_callers=True)


def _is_valid(version: str, trace_id: str, parent_id: str, _flags: str, more: str | None) -> bool:
    # Later versions may say more; of the first, that makes a header that is none.
    return (
        version != _NO_VERSION
        and trace_id.strip("0") != ""
        and parent_id.strip("0") != ""
        and (version != "00" or more is None)
    )
