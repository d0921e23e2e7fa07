"""Thousands of pictures through a client: some under way at a time, answers in order, memory bounded."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

from tqdm import tqdm

from affect_contract.errors import AffectError, InvalidImage
from affect_contract.schemas import Prediction

Picture = bytes | Path
"""The bytes of a JPEG, PNG or WebP file, or where the file is."""
Outcome = Prediction | AffectError

DEFAULT_IN_FLIGHT: Final = 16

_AHEAD: Final = 2
"""Pictures handed out for each that may be under way, so that a slow one at the front does not idle the others."""


class Answered(NamedTuple):
    """A picture, and its answer or the error it met."""

    picture: Picture
    outcome: Outcome


def picture_bytes(picture: Picture) -> bytes:
    """The bytes of a picture, read where it is a file.

    Raises:
        OSError: the file cannot be read.
    """
    return picture.read_bytes() if isinstance(picture, Path) else picture


def answered_in_order(
    predict: Callable[[Picture], Prediction], pictures: Iterable[Picture], *, in_flight: int, progress: bool
) -> Generator[Answered]:
    """Ask ``predict`` about each picture from ``in_flight`` threads.

    Closing the iterator asks no more, and waits for what is under way.
    """

    def outcome(picture: Picture) -> Outcome:
        try:
            return predict(picture)
        except AffectError as exc:
            return exc
        except OSError as exc:
            return _unreadable(exc)

    pool = ThreadPoolExecutor(in_flight, thread_name_prefix="predict")
    waiting: deque[tuple[Picture, Future[Outcome]]] = deque()
    try:
        with _Bar(pictures, shown=progress) as bar:
            for picture in pictures:
                if len(waiting) == _AHEAD * in_flight:
                    first, answer = waiting.popleft()
                    yield bar.counted(Answered(first, answer.result()))
                waiting.append((picture, pool.submit(outcome, picture)))
            while waiting:
                first, answer = waiting.popleft()
                yield bar.counted(Answered(first, answer.result()))
    finally:
        pool.shutdown(cancel_futures=True)


async def answered_in_order_async(
    predict: Callable[[Picture], Awaitable[Prediction]], pictures: Iterable[Picture], *, in_flight: int, progress: bool
) -> AsyncGenerator[Answered]:
    """`answered_in_order` with tasks; closing it cancels them."""
    places = asyncio.Semaphore(in_flight)

    async def outcome(picture: Picture) -> Outcome:
        async with places:
            try:
                return await predict(picture)
            except AffectError as exc:
                return exc
            except OSError as exc:
                return _unreadable(exc)

    waiting: deque[tuple[Picture, asyncio.Task[Outcome]]] = deque()
    try:
        with _Bar(pictures, shown=progress) as bar:
            for picture in pictures:
                if len(waiting) == _AHEAD * in_flight:
                    first, answer = waiting[0]
                    result = await answer
                    waiting.popleft()
                    yield bar.counted(Answered(first, result))
                waiting.append((picture, asyncio.create_task(outcome(picture))))
            while waiting:
                first, answer = waiting[0]
                result = await answer
                waiting.popleft()
                yield bar.counted(Answered(first, result))
    finally:
        for _, answer in waiting:
            answer.cancel()
        await asyncio.gather(*(answer for _, answer in waiting), return_exceptions=True)


def _unreadable(error: OSError) -> InvalidImage:
    return InvalidImage(f"the file cannot be read: {error.strerror or error}")


class _Bar:
    """A progress bar on stderr with rate, time left where the number is known, and failures."""

    def __init__(self, pictures: Iterable[Picture], *, shown: bool) -> None:
        total = len(pictures) if isinstance(pictures, Sized) else None
        self._bar = tqdm(total=total, unit="picture", disable=not shown)
        self._failed = 0

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def counted(self, answered: Answered) -> Answered:
        """The same, once it is counted."""
        if isinstance(answered.outcome, AffectError):
            self._failed += 1
            self._bar.set_postfix(failed=self._failed)
        self._bar.update()
        return answered
