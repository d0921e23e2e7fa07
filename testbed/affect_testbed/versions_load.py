"""Clients that ask a gateway without pause while versions are published, promoted, rolled back and deleted."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from affect_client import AsyncClient, ServiceUnreachable
from affect_contract.errors import AffectError
from affect_testbed.small_models import PAIR

LABELS = (None, None, None, "stable")
"""What each client asks for, in turn: most ask for nothing in particular."""
LOOK_EVERY_S = 0.01


class Answer(NamedTuple):
    """When it was asked for and when it came, monotonic, and the version that gave it."""

    asked: float
    came: float
    version: int


@dataclass
class Seen:
    """What the clients met."""

    answers: list[Answer] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def versions(self, since: float = 0.0) -> set[int]:
        """Those that answered what was asked after a moment."""
        return {one.version for one in self.answers if one.asked >= since}

    async def first_answer(self, version: int, since: float, timeout_s: float) -> float:
        """Seconds from a moment until a version answered."""
        async with asyncio.timeout(timeout_s):
            while not (found := [one.came for one in self.answers if one.version == version and one.came >= since]):
                await asyncio.sleep(LOOK_EVERY_S)
        return min(found) - since


@asynccontextmanager
async def load(url: str, pictures: Sequence[bytes], clients: int = 4) -> AsyncIterator[Seen]:
    """Ask from before the block until its end; nothing is tried twice, and an answer of two versions is a failure."""
    seen, ended = Seen(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(_ask(url, pictures, LABELS[number % len(LABELS)], seen, ended))
        try:
            while len(seen.answers) + len(seen.failures) < clients:
                await asyncio.sleep(LOOK_EVERY_S)
            yield seen
        finally:
            ended.set()


async def _ask(url: str, pictures: Sequence[bytes], label: str | None, seen: Seen, ended: asyncio.Event) -> None:
    async with AsyncClient(url, retries=0) as client:
        turn = 0
        while not ended.is_set():
            turn += 1
            started = time.monotonic()
            try:
                answer = await client.predict(pictures[turn % len(pictures)], backbone="custom_cnn", label=label)
            except (AffectError, ServiceUnreachable) as exc:
                seen.failures.append(f"{label}: {exc!r}")
                await asyncio.sleep(0.05)
                continue
            versions = {answer.model.versions[name] for name in PAIR}
            if len(versions) > 1:
                seen.failures.append(f"{label}: one answer of the versions {versions}")
            seen.answers.append(Answer(started, time.monotonic(), max(versions)))
