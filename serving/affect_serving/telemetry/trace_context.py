"""W3C Trace Context: the headers by which a request carries its trace from one service to the next.

Source: https://www.w3.org/TR/trace-context/ (level 1).
"""

import re
from typing import Final, NamedTuple

from affect_serving.telemetry.request_ids import random_hex

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"

_FORM: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[\x20-\x7e]*)?", re.ASCII)
_STATE: Final = re.compile(r"[\x20-\x7e]{1,512}")
_NO_VERSION: Final = "ff"


class TraceContext(NamedTuple):
    """The trace that a request belongs to."""

    trace_id: str
    """The trace, as 32 hexadecimal digits."""
    parent_id: str
    """The calling span, as 16 hexadecimal digits."""
    flags: str
    """Flags, as 2 hexadecimal digits; the last bit says whether the caller records the trace."""
    state: str = ""
    """The header ``tracestate`` with data of tracing vendors, passed on unchanged."""
    is_callers: bool = False
    """Whether the trace was stated by the caller, not made here."""

    @property
    def traceparent(self) -> str:
        """The value of the header ``traceparent``."""
        return f"00-{self.trace_id}-{self.parent_id}-{self.flags}"


def trace_context(traceparent: str, tracestate: str = "") -> TraceContext:
    """Return the trace in the caller's headers; without a valid one, a new trace that is not recorded."""
    match = _FORM.fullmatch(traceparent)
    if not match or not _is_valid(*match.groups()):
        return TraceContext(random_hex(32), random_hex(16), "00")
    _, trace_id, parent_id, flags, _ = match.groups()
    return TraceContext(trace_id, parent_id, flags, tracestate if _STATE.fullmatch(tracestate) else "", is_callers=True)


def _is_valid(version: str, trace_id: str, parent_id: str, _flags: str, more: str | None) -> bool:
    # Later versions of the format may have further parts; in version 00 they make the header invalid.
    return (
        version != _NO_VERSION
        and trace_id.strip("0") != ""
        and parent_id.strip("0") != ""
        and (version != "00" or more is None)
    )
