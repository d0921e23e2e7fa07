"""Clients that send requests to a gateway without pause while versions are published, promoted and deleted."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from affect_client import AsyncClient, ServiceUnreachable
from affect_contract.errors import AffectError
from affect_testbed.small_models import PAIR

LABEL_BY_CLIENT = (None, None, None, "stable")
"""The label that each client asks for, in turn: most name none."""
POLL_S = 0.01


class Answer(NamedTuple):
    """One answer: when it was requested and when it came, in monotonic seconds, and the version that gave it."""

    asked: float
    came: float
    version: int


@dataclass
class ResponseLog:
    """The answers and failures of all clients."""

    answers: list[Answer] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def versions(self, since: float = 0.0) -> set[int]:
        """Return the versions that answered requests sent at or after ``since``."""
        return {one.version for one in self.answers if one.asked >= since}

    async def first_answer(self, version: int, since: float, timeout_s: float) -> float:
        """Wait for the first answer of a version, and return the seconds from ``since`` until it came."""
        async with asyncio.timeout(timeout_s):
            while not (found := [one.came for one in self.answers if one.version == version and one.came >= since]):
                await asyncio.sleep(POLL_S)
        return min(found) - since


@asynccontextmanager
async def continuous_requests(url: str, pictures: Sequence[bytes], clients: int = 4) -> AsyncIterator[ResponseLog]:
    """Send requests from before the block until its end, and yield the log of their responses.

    No request is sent twice, and an answer that mixes two versions counts as a failure.
    """
    log, ended = ResponseLog(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(_send(url, pictures, LABEL_BY_CLIENT[number % len(LABEL_BY_CLIENT)], log, ended))
        try:
            while len(log.answers) + len(log.failures) < clients:
                await asyncio.sleep(POLL_S)
            yield log
        finally:
            ended.set()


async def _send(url: str, pictures: Sequence[bytes], label: str | None, log: ResponseLog, ended: asyncio.Event) -> None:
    async with AsyncClient(url, retries=0) as client:
        turn = 0
        while not ended.is_set():
            turn += 1
            started = time.monotonic()
            try:
                answer = await client.predict(pictures[turn % len(pictures)], backbone="custom_cnn", label=label)
            except (AffectError, ServiceUnreachable) as exc:
                log.failures.append(f"{label}: {exc!r}")
                await asyncio.sleep(0.05)
                continue
            versions = {answer.model.versions[name] for name in PAIR}
            if len(versions) > 1:
                log.failures.append(f"{label}: one answer of the versions {versions}")
            log.answers.append(Answer(started, time.monotonic(), max(versions)))
