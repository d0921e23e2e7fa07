"""When the gRPC server may stop, and when its answers may be sent."""

import asyncio
import time

import pytest

from affect_serving.rpc.held_answers import HeldAnswers

AT_ONCE_S = 10
"""Long, for a machine that does other things too."""


@pytest.fixture
def answers():
    return HeldAnswers()


async def seconds(awaitable):
    began = time.monotonic()
    await awaitable
    return time.monotonic() - began


async def test_answers_that_are_not_held_are_sent_at_once_and_nobody_waits_for_a_gap(answers):
    answers.call_arrived()
    assert await seconds(answers.wait_released(60)) < AT_ONCE_S
    assert await seconds(answers.wait_gap(60)) < AT_ONCE_S


async def test_calls_have_ceased_when_none_has_come_for_a_while(answers):
    assert await seconds(answers.hold()) > 0.2


async def test_a_call_that_comes_begins_the_wait_anew(answers):
    async def calls():
        for _ in range(4):
            await asyncio.sleep(0.1)
            answers.call_arrived()

    coming = asyncio.create_task(calls())
    await answers.hold()
    assert coming.done()


async def test_where_calls_do_not_cease_the_next_gap_will_do(answers):
    await answers.hold()
    answers.call_arrived()
    assert 0.02 < await seconds(answers.wait_gap(60)) < AT_ONCE_S


async def test_calls_that_never_cease_are_not_waited_for(answers):
    async def calls():
        while True:
            answers.call_arrived()
            await asyncio.sleep(0.01)

    coming = asyncio.create_task(calls())
    assert await seconds(answers.hold()) < AT_ONCE_S
    assert await seconds(answers.wait_gap(0.3)) >= 0.3
    coming.cancel()


async def test_a_held_answer_is_sent_on_release(answers):
    await answers.hold()
    answer = asyncio.create_task(answers.wait_released(60))
    await asyncio.sleep(0.1)
    assert not answer.done()
    answers.release()
    await asyncio.wait_for(answer, AT_ONCE_S)


async def test_a_held_answer_is_sent_while_its_caller_waits_still(answers):
    await answers.hold()
    assert 1 <= await seconds(answers.wait_released(2)) < 2
