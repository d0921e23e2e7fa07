"""W3C Trace Context: headers that are accepted, replaced and passed on."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affect_serving.telemetry.request_context import RequestContext
from affect_serving.telemetry.trace_context import trace_context

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
VALID = f"00-{TRACE}-{PARENT}-01"


@pytest.mark.parametrize("given_", [VALID, f"cc-{TRACE}-{PARENT}-01", f"cc-{TRACE}-{PARENT}-01-what-the-future-brings"])
def test_a_valid_traceparent_is_kept_and_passed_on_in_version_00(given_):
    context = trace_context(given_, "vendor=1")
    assert (context.trace_id, context.parent_id, context.flags, context.is_callers) == (TRACE, PARENT, "01", True)
    assert context.traceparent == VALID
    assert RequestContext("mine", context).metadata() == (
        ("x-request-id", "mine"), ("traceparent", VALID), ("tracestate", "vendor=1"),
    )  # fmt: skip


@pytest.mark.parametrize(
    "given_",
    [
        "", "nonsense", VALID.upper(), VALID[:-1], f"{VALID}-more", f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE}-{'0' * 16}-01", f" {VALID}", f"{VALID}\n", f"0x-{TRACE}-{PARENT}-01",
    ],
)  # fmt: skip
def test_an_invalid_traceparent_begins_a_trace_that_is_not_recorded(given_):
    context = trace_context(given_, "vendor=1")
    assert context.trace_id != TRACE
    assert (context.flags, context.state, context.is_callers) == ("00", "", False)


@given(st.text(), st.text())
def test_any_header_gives_a_valid_one_to_pass_on(traceparent, tracestate):
    context = trace_context(traceparent, tracestate)
    assert re.fullmatch(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", context.traceparent)
    assert context.state in ("", tracestate)
    assert context.state.isascii()
    assert context.state == "" or context.state.isprintable()


@given(st.from_regex(r"\A[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\Z"))
def test_a_well_formed_traceparent_is_accepted_unless_it_is_forbidden(traceparent):
    version, trace_id, parent_id, flags = traceparent.split("-")
    forbidden = version == "ff" or not trace_id.strip("0") or not parent_id.strip("0")
    context = trace_context(traceparent)
    assert context.is_callers is not forbidden
    assert forbidden or context.traceparent == f"00-{trace_id}-{parent_id}-{flags}"
