"""When a call is sent again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affect_client import ServiceUnreachable
from affect_client.retry import Attempts
from affect_contract.errors import FAULTS, AffectError, ErrorCode, ModelNotReady, Overloaded


def attempts(timeout_s=10.0, retries=3, now=lambda: 0.0, jitter=lambda: 1.0):
    return Attempts(timeout_s, retries, clock=now, jitter=jitter)


@pytest.mark.parametrize("code", ErrorCode)
def test_only_what_the_table_calls_retryable_is_sent_again(code):
    wait_s = attempts().wait_s(AffectError.by_code[code]("on purpose"))
    assert (wait_s is not None) == FAULTS[code].retryable


@pytest.mark.parametrize("never_connected", [True, False])
def test_a_connection_that_broke_is_not_tried_again_and_one_that_never_came_about_is(never_connected):
    wait_s = attempts().wait_s(ServiceUnreachable("nobody", never_connected=never_connected))
    assert (wait_s is not None) == never_connected


def test_waits_double_and_end_after_the_last_retry():
    several = attempts(retries=3)
    assert [several.wait_s(Overloaded("")) for _ in range(4)] == [0.1, 0.2, 0.4, None]


@given(jitter=st.floats(0, 1), asked=st.floats(0, 3))
def test_it_never_waits_less_than_the_gateway_says_nor_longer_than_is_left(jitter, asked):
    wait_s = attempts(timeout_s=2.0, jitter=lambda: jitter).wait_s(ModelNotReady("", retry_after_s=asked))
    if wait_s is None:
        assert asked + 0.1 >= 2.0
    else:
        assert asked <= wait_s < 2.0


def test_an_attempt_has_only_the_time_that_is_left():
    time_s = [0.0]
    several = attempts(timeout_s=5.0, now=lambda: time_s[0])
    assert several.left_s() == 5.0
    time_s[0] = 4.0
    assert several.left_s() == 1.0
    time_s[0] = 6.0
    assert 0 < several.left_s() < 0.01
