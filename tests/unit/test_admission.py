"""Admission control: the order in which work begins, and the refusals when there is no room."""

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affect_contract.errors import DeadlineExceeded, ModelNotReady, Overloaded
from affect_serving.core.admission import Admission, BodyBytes
from affect_serving.core.deadline import Deadline
from affect_serving.telemetry.metrics import Metrics


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def metrics():
    return Metrics()


def sample(metrics, name, **labels):
    return metrics.registry.get_sample_value(name, labels)


def later():
    return Deadline(60)


async def settled():
    """Let every task run until it waits."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_work_begins_at_once_while_there_is_room_and_else_in_order(metrics):
    admission = Admission(1, 2, metrics)
    tickets = [admission.enter(later()) for _ in range(3)]
    begun = []

    async def work(number):
        await tickets[number].begin()
        begun.append(number)

    tasks = []
    for number in (0, 2, 1):  # the order in which bodies are complete
        tasks.append(asyncio.create_task(work(number)))
        await settled()
    assert begun == [0]
    for number in (0, 2, 1):
        tickets[number].leave()
        await settled()
    assert begun == [0, 2, 1]
    await asyncio.gather(*tasks)


async def test_a_request_beyond_limit_and_queue_is_refused_at_once_with_a_time_to_retry_after(metrics):
    admission = Admission(1, 1, metrics)
    first, _ = admission.enter(later()), admission.enter(later())
    with pytest.raises(Overloaded, match="2 requests are under way already") as caught:
        admission.enter(later())
    assert caught.value.retry_after_s > 0
    assert sample(metrics, "affect_rejected_total", reason="queue_full") == 1
    first.leave()
    admission.enter(later())


async def test_the_gauges_show_the_places_that_are_held(metrics):
    admission = Admission(2, 2, metrics)
    tickets = [admission.enter(later()) for _ in range(3)]
    await tickets[0].begin()
    held = lambda: [sample(metrics, f"affect_requests_{name}") for name in ("in_flight", "queued")]  # noqa: E731
    assert held() == [1, 2]
    for ticket in tickets:
        ticket.leave()
    assert held() == [0, 0]


async def test_a_batch_counts_as_its_pictures_and_others_wait_for_it(metrics):
    admission = Admission(4, 4, metrics)
    batch = admission.enter(later())
    await batch.begin(7)
    single = admission.enter(later())
    waiting = asyncio.create_task(single.begin())
    await settled()
    assert not waiting.done()
    with pytest.raises(Overloaded):
        admission.enter(later())
    batch.leave()
    await waiting


async def test_a_request_whose_turn_would_come_too_late_is_refused_before_any_work(metrics):
    clock = Clock()
    admission = Admission(1, 5, metrics, clock=clock)
    first = admission.enter(later())
    await first.begin()
    clock.now += 2.0
    first.leave()
    held = admission.enter(later())
    await held.begin()
    with pytest.raises(Overloaded, match="longer than the request has"):
        admission.enter(Deadline(3.0))
    admission.enter(Deadline(5.0)).leave()
    held.leave()
    admission.enter(Deadline(0.5))  # there is room at once, and how long the work takes is not known
    assert sample(metrics, "affect_rejected_total", reason="too_late") == 1


async def test_a_request_whose_time_runs_out_while_it_waits_leaves_the_queue(metrics):
    admission = Admission(1, 1, metrics)
    first = admission.enter(later())
    await first.begin()
    second = admission.enter(Deadline(0.02))
    with pytest.raises(DeadlineExceeded):
        await second.begin()
    second.leave()
    third = admission.enter(later())
    waiting = asyncio.create_task(third.begin())
    await settled()
    first.leave()
    await waiting


async def test_a_slow_body_gives_its_place_back_and_takes_another_when_it_is_complete(metrics):
    admission = Admission(1, 0, metrics)
    slow = admission.enter(later())
    slow.give_place()
    quick = admission.enter(later())
    with pytest.raises(Overloaded):
        await slow.begin()
    quick.leave()
    await slow.begin()
    slow.leave()
    admission.enter(later())


async def test_once_closed_no_request_is_admitted_and_admitted_ones_may_finish(metrics):
    admission = Admission(1, 1, metrics)
    inside, waiting = admission.enter(later()), admission.enter(later())
    await inside.begin()
    admission.close()
    with pytest.raises(ModelNotReady, match="shutting down"):
        admission.enter(later())
    turn = asyncio.create_task(waiting.begin())
    await settled()
    inside.leave()
    await turn


async def test_a_cancelled_wait_frees_its_place_even_if_its_turn_came_at_the_same_moment(metrics):
    admission = Admission(1, 1, metrics)
    for cancel_first in (True, False):
        first, second = admission.enter(later()), admission.enter(later())
        await first.begin()
        waiting = asyncio.create_task(second.begin())
        await settled()
        for step in (waiting.cancel, first.leave)[:: 1 if cancel_first else -1]:
            step()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        second.leave()
        assert sample(metrics, "affect_requests_in_flight") == sample(metrics, "affect_requests_queued") == 0


class Callers:
    """Up to eight callers at a time, which come, wait, give up and leave in any order."""

    def __init__(self, admission):
        self.admission, self.tickets, self.turns = admission, {}, {}

    def enter(self, number):
        if number not in self.tickets:
            self.tickets[number] = self.admission.enter(later())

    def begin(self, number):
        if number in self.tickets and number not in self.turns:
            self.turns[number] = asyncio.create_task(self.tickets[number].begin())

    def give_place(self, number):
        if number in self.tickets and number not in self.turns:
            self.tickets[number].give_place()

    def give_up(self, number):
        if number in self.turns:
            self.turns[number].cancel()

    def leave(self, number):
        if number in self.tickets and (number not in self.turns or self.turns[number].done()):
            self.tickets.pop(number).leave()
            self.turns.pop(number, None)


@given(
    st.lists(
        st.tuples(st.sampled_from(["enter", "begin", "give_place", "give_up", "leave"]), st.integers(0, 7)), max_size=60
    )
)
def test_whatever_callers_do_the_limits_hold_and_no_place_is_lost(steps):
    async def run():
        metrics = Metrics()
        callers = Callers(Admission(2, 2, metrics))
        for step, number in steps:
            with contextlib.suppress(Overloaded):
                getattr(callers, step)(number)
            await settled()
            assert 0 <= sample(metrics, "affect_requests_in_flight") <= 2
            assert 0 <= sample(metrics, "affect_requests_queued") <= 4
        for turn in callers.turns.values():
            turn.cancel()
        ended = await asyncio.gather(*callers.turns.values(), return_exceptions=True)
        assert {type(outcome) for outcome in ended} <= {type(None), Overloaded, asyncio.CancelledError}
        for ticket in callers.tickets.values():
            ticket.leave()
        assert sample(metrics, "affect_requests_in_flight") == sample(metrics, "affect_requests_queued") == 0

    asyncio.run(run())


def test_bodies_share_a_memory_limit(metrics):
    held = BodyBytes(100, metrics)
    held.hold(60)
    with pytest.raises(Overloaded):
        held.hold(41)
    held.hold(40)
    held.release(100)
    held.hold(100)
    assert sample(metrics, "affect_body_bytes") == 100
