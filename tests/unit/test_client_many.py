"""Many pictures: a bounded number under way, nothing held back, and an end that waits for nobody."""

import asyncio
import threading
import time

import pytest

from affect_client import ServiceUnreachable
from affect_client.predict_many import predict_in_order, predict_in_order_async
from affect_contract.errors import InvalidImage
from tests.unit.rpc_gateway import ANSWER

PICTURES = [str(number).encode() for number in range(60)]


def all_of(predict, pictures, is_async, **options):
    """What comes of all pictures, as a list that is kept where an error ends it."""
    got = []
    options = {"in_flight": 4, "progress": False, **options}
    if not is_async:
        for one in predict_in_order(predict, pictures, **options):
            got.append(one)  # noqa: PERF402 - what came before an error counts
        return got

    async def predict_async(picture):
        await asyncio.sleep(0)
        return predict(picture)

    async def run():
        async for one in predict_in_order_async(predict_async, pictures, **options):
            got.append(one)  # noqa: PERF401

    asyncio.run(run())
    return got


both = pytest.mark.parametrize("is_async", [False, True], ids=["threads", "tasks"])


@both
def test_the_picture_that_takes_longest_keeps_its_place(is_async):
    def predict(picture):
        if picture == PICTURES[0]:
            time.sleep(0.05)
        return ANSWER

    assert [one.picture for one in all_of(predict, PICTURES, is_async)] == PICTURES


@both
def test_a_picture_that_fails_is_its_own_outcome(is_async):
    def predict(picture):
        if picture == PICTURES[7]:
            raise InvalidImage("on purpose")
        return ANSWER

    outcomes = [one.outcome for one in all_of(predict, PICTURES, is_async)]
    assert [type(one) for one in outcomes].index(InvalidImage) == 7
    assert outcomes.count(ANSWER) == len(PICTURES) - 1


@both
def test_a_service_that_goes_away_ends_it_after_the_answers_before(is_async):
    asked = []

    def predict(picture):
        asked.append(picture)
        if picture == PICTURES[9]:
            raise ServiceUnreachable("gone")
        return ANSWER

    got = []

    def watched():
        for picture in PICTURES:
            got.append(picture)
            yield picture

    with pytest.raises(ServiceUnreachable, match="gone"):
        all_of(predict, watched(), is_async)
    assert len(got) <= 10 + 8
    assert PICTURES[-1] not in asked


@both
@pytest.mark.parametrize("in_flight", [0, -1])
def test_at_least_one_picture_has_to_be_under_way(is_async, in_flight):
    with pytest.raises(ValueError, match="in_flight"):
        all_of(lambda _: ANSWER, PICTURES, is_async, in_flight=in_flight)


def test_threads_ask_for_as_many_at_a_time_as_said_and_no_more():
    together, most = threading.Barrier(3), []
    under_way = threading.Semaphore(3)

    def predict(_):
        most.append(under_way.acquire(blocking=False))
        together.wait(10)
        under_way.release()
        return ANSWER

    assert len(all_of(predict, PICTURES, False, in_flight=3)) == len(PICTURES)
    assert all(most)


def test_tasks_ask_for_as_many_at_a_time_as_said_and_no_more():
    under_way, most = 0, 0

    async def predict(_):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.001)
        under_way -= 1
        return ANSWER

    async def run():
        return [one async for one in predict_in_order_async(predict, PICTURES, in_flight=3, progress=False)]

    assert len(asyncio.run(run())) == len(PICTURES)
    assert most == 3


def test_an_answer_is_not_held_back_while_pictures_come_slowly():
    taken = 0

    def slowly():
        nonlocal taken
        for picture in range(1000):
            taken += 1
            time.sleep(0.001)
            yield b"%d" % picture

    answers = predict_in_order(lambda _: ANSWER, slowly(), in_flight=500, progress=False)
    assert next(answers).picture == b"0"
    assert taken < 900
    answers.close()


def test_leaving_early_waits_for_no_thread_and_begins_nothing_more():
    goes_on, begun = threading.Event(), []

    def predict(picture):
        begun.append(picture)
        if picture != PICTURES[0]:
            goes_on.wait(30)
        return ANSWER

    answers = predict_in_order(predict, PICTURES, in_flight=2, progress=False)
    next(answers)
    started = time.monotonic()
    answers.close()
    assert time.monotonic() - started < 5
    before = [thread for thread in threading.enumerate() if thread.name == "affect-client"]
    goes_on.set()
    for thread in before:
        thread.join(10)
        assert not thread.is_alive()
    assert len(begun) <= 1 + 2


async def test_leaving_early_cancels_every_task():
    cancelled, begun = [], asyncio.Semaphore(0)

    async def predict(picture):
        if picture == PICTURES[0]:
            await begun.acquire()
            await begun.acquire()
            return ANSWER
        begun.release()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(picture)
            raise

    answers = predict_in_order_async(predict, PICTURES, in_flight=3, progress=False)
    assert (await anext(answers)).picture == PICTURES[0]
    await answers.aclose()
    # The one that took the place of the first may have begun too.
    assert cancelled in (PICTURES[1:3], PICTURES[1:4])
    assert asyncio.all_tasks() == {asyncio.current_task()}
