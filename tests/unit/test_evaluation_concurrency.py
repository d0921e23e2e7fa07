"""How many requests are under way follows what the service takes."""

import asyncio

import pytest

from affect_contract.errors import InvalidImage, Overloaded
from affect_evaluation.inference.adaptive_concurrency import AdaptiveConcurrency


async def spend(concurrency, error=None):
    async with concurrency.slot():
        await asyncio.sleep(0)
        if error:
            raise error


async def test_no_more_than_the_places_are_taken():
    concurrency, taken, most = AdaptiveConcurrency(4), 0, 0

    async def work():
        nonlocal taken, most
        async with concurrency.slot():
            taken += 1
            most = max(most, taken)
            await asyncio.sleep(0)
            taken -= 1

    await asyncio.gather(*(work() for _ in range(40)))
    assert most == 4


async def test_an_overload_halves_the_places_and_one_is_always_left():
    concurrency, slots = AdaptiveConcurrency(16), []
    for _ in range(6):
        with pytest.raises(Overloaded):
            await spend(concurrency, Overloaded("full"))
        slots.append(concurrency.slots)
    assert slots == [8, 4, 2, 1, 1, 1]


async def test_requests_refused_together_are_one_overload():
    concurrency = AdaptiveConcurrency(16)
    await asyncio.gather(*(spend(concurrency, Overloaded("full")) for _ in range(16)), return_exceptions=True)
    assert concurrency.slots == 8


async def test_answers_bring_the_places_back_slowly():
    concurrency = AdaptiveConcurrency(16)
    with pytest.raises(Overloaded):
        await spend(concurrency, Overloaded("full"))
    for _ in range(8):
        await spend(concurrency)
    assert concurrency.slots == 8
    for _ in range(200):
        await spend(concurrency)
    assert concurrency.slots == 16


async def test_another_error_frees_its_place_and_changes_nothing():
    concurrency = AdaptiveConcurrency(1)
    for _ in range(3):
        with pytest.raises(InvalidImage):
            await spend(concurrency, InvalidImage("none"))
    assert concurrency.slots == 1
