"""Predict any number of pictures: a few requests in flight at a time, answers in order, memory bounded."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Sized
from concurrent.futures import Future
from pathlib import Path
from typing import Final, NamedTuple

from tqdm import tqdm

from affect_client.workers import Workers
from affect_contract.errors import AffectError, InvalidImage
from affect_contract.schemas import Prediction

Picture = bytes | Path
"""The bytes of a JPEG, PNG or WebP file, or its path."""
Outcome = Prediction | AffectError

DEFAULT_IN_FLIGHT: Final = 16

_QUEUED_PER_SLOT: Final = 2
"""Pictures queued for each request that may be in flight, so that a slow first one does not idle the others."""
_CLOSE_TIMEOUT_S: Final = 1.0
"""Seconds that closing waits for requests in flight."""


class Answered(NamedTuple):
    """A picture with its prediction, or with the error that it caused."""

    picture: Picture
    outcome: Outcome


def picture_bytes(picture: Picture) -> bytes:
    """Return the bytes of a picture, read from its file if it is a path.

    Raises:
        OSError: the file cannot be read.
    """
    return picture.read_bytes() if isinstance(picture, Path) else picture


async def picture_bytes_async(picture: Picture) -> bytes:
    """Return the bytes of a picture without blocking the event loop while a file is read."""
    return await asyncio.to_thread(picture.read_bytes) if isinstance(picture, Path) else picture


def predict_in_order(
    predict: Callable[[Picture], Prediction], pictures: Iterable[Picture], *, in_flight: int, progress: bool
) -> Generator[Answered]:
    """Call ``predict`` for each picture in ``in_flight`` threads, and yield the results in order.

    Closing the iterator starts no more calls, and waits for those in flight so that no connection outlives its client;
    but only for a second, so that a gateway that hangs does not keep the caller from leaving.

    Raises:
        ValueError: ``in_flight`` is below 1.
    """
    _require_in_flight(in_flight)

    def outcome(picture: Picture) -> Outcome:
        try:
            return predict(picture)
        except AffectError as exc:
            return exc
        except OSError as exc:
            return _unreadable(exc)

    workers = Workers(outcome, in_flight)
    waiting = deque[tuple[Picture, Future[Outcome]]]()
    try:
        with _ProgressBar(pictures, shown=progress) as bar:
            for picture in pictures:
                waiting.append((picture, workers.submit(picture)))
                # Results are passed on at once, even while the source of pictures is slow.
                while waiting and (len(waiting) == _QUEUED_PER_SLOT * in_flight or waiting[0][1].done()):
                    first, answer = waiting.popleft()
                    yield bar.count(Answered(first, answer.result()))
            while waiting:
                first, answer = waiting.popleft()
                yield bar.count(Answered(first, answer.result()))
    finally:
        workers.close(_CLOSE_TIMEOUT_S)


async def predict_in_order_async(
    predict: Callable[[Picture], Awaitable[Prediction]], pictures: Iterable[Picture], *, in_flight: int, progress: bool
) -> AsyncGenerator[Answered]:
    """Do what `predict_in_order` does with asyncio tasks; closing the iterator cancels them."""
    _require_in_flight(in_flight)
    slots = asyncio.Semaphore(in_flight)

    async def outcome(picture: Picture) -> Outcome:
        async with slots:
            try:
                return await predict(picture)
            except AffectError as exc:
                return exc
            except OSError as exc:
                return _unreadable(exc)

    waiting = deque[tuple[Picture, asyncio.Task[Outcome]]]()
    try:
        with _ProgressBar(pictures, shown=progress) as bar:
            for picture in pictures:
                waiting.append((picture, asyncio.create_task(outcome(picture))))
                # The source may never await anything, and the tasks need their turn.
                await asyncio.sleep(0)
                while waiting and (len(waiting) == _QUEUED_PER_SLOT * in_flight or waiting[0][1].done()):
                    first, answer = waiting[0]
                    result = await answer
                    waiting.popleft()
                    yield bar.count(Answered(first, result))
            while waiting:
                first, answer = waiting[0]
                result = await answer
                waiting.popleft()
                yield bar.count(Answered(first, result))
    finally:
        for _, answer in waiting:
            answer.cancel()
        await asyncio.gather(*(answer for _, answer in waiting), return_exceptions=True)


def _require_in_flight(in_flight: int) -> None:
    if in_flight < 1:
        raise ValueError(f"in_flight is {in_flight}: at least 1 picture has to be under way")


def _unreadable(error: OSError) -> InvalidImage:
    return InvalidImage(f"the file cannot be read: {error.strerror or error}")


class _ProgressBar:
    """A progress bar on stderr with the rate, the failures, and the time left if the total is known."""

    def __init__(self, pictures: Iterable[Picture], *, shown: bool) -> None:
        total = len(pictures) if isinstance(pictures, Sized) else None
        self._bar = tqdm(total=total, unit="picture", disable=not shown)
        self._failed = 0

    def __enter__(self) -> "_ProgressBar":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def count(self, answered: Answered) -> Answered:
        """Count a result, and return it."""
        if isinstance(answered.outcome, AffectError):
            self._failed += 1
            self._bar.set_postfix(failed=self._failed, refresh=False)
        self._bar.update()
        return answered
