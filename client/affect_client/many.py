"""Thousands of pictures through a client: some under way at a time, answers in order, memory bounded."""

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
"""The bytes of a JPEG, PNG or WebP file, or where the file is."""
Outcome = Prediction | AffectError

DEFAULT_IN_FLIGHT: Final = 16

_AHEAD: Final = 2
"""Pictures handed out for each that may be under way, so that a slow one at the front does not idle the others."""
_PATIENCE_S: Final = 1.0
"""How long closing waits for what is under way."""


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


async def picture_bytes_async(picture: Picture) -> bytes:
    """`picture_bytes` that keeps the event loop free while a file is read."""
    return await asyncio.to_thread(picture.read_bytes) if isinstance(picture, Path) else picture


def answered_in_order(
    predict: Callable[[Picture], Prediction], pictures: Iterable[Picture], *, in_flight: int, progress: bool
) -> Generator[Answered]:
    """Ask ``predict`` about each picture from ``in_flight`` threads.

    Closing the iterator asks no more, and waits for what is under way, so that no connection outlives its client; but
    not for long, so that a gateway that hangs holds up nobody who leaves.

    Raises:
        ValueError: ``in_flight`` is below 1.
    """
    _require_place(in_flight)

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
        with _Bar(pictures, shown=progress) as bar:
            for picture in pictures:
                waiting.append((picture, workers.submit(picture)))
                # What is answered is not held back while pictures come slowly.
                while waiting and (len(waiting) == _AHEAD * in_flight or waiting[0][1].done()):
                    first, answer = waiting.popleft()
                    yield bar.counted(Answered(first, answer.result()))
            while waiting:
                first, answer = waiting.popleft()
                yield bar.counted(Answered(first, answer.result()))
    finally:
        workers.close(_PATIENCE_S)


async def answered_in_order_async(
    predict: Callable[[Picture], Awaitable[Prediction]], pictures: Iterable[Picture], *, in_flight: int, progress: bool
) -> AsyncGenerator[Answered]:
    """`answered_in_order` with tasks; closing it cancels them."""
    _require_place(in_flight)
    places = asyncio.Semaphore(in_flight)

    async def outcome(picture: Picture) -> Outcome:
        async with places:
            try:
                return await predict(picture)
            except AffectError as exc:
                return exc
            except OSError as exc:
                return _unreadable(exc)

    waiting = deque[tuple[Picture, asyncio.Task[Outcome]]]()
    try:
        with _Bar(pictures, shown=progress) as bar:
            for picture in pictures:
                waiting.append((picture, asyncio.create_task(outcome(picture))))
                # The source need not wait for anything, and the tasks need their turn.
                await asyncio.sleep(0)
                while waiting and (len(waiting) == _AHEAD * in_flight or waiting[0][1].done()):
                    first, answer = waiting[0]
                    result = await answer
                    waiting.popleft()
                    yield bar.counted(Answered(first, result))
            while waiting:
                first, answer = waiting[0]
                result = await answer
                waiting.popleft()
                yield bar.counted(Answered(first, result))
    finally:
        for _, answer in waiting:
            answer.cancel()
        await asyncio.gather(*(answer for _, answer in waiting), return_exceptions=True)


def _require_place(in_flight: int) -> None:
    if in_flight < 1:
        raise ValueError(f"in_flight is {in_flight}: at least 1 picture has to be under way")


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
            self._bar.set_postfix(failed=self._failed, refresh=False)
        self._bar.update()
        return answered
