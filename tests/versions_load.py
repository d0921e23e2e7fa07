"""Clients that ask a gateway without pause while versions are published, promoted, rolled back and deleted."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from affect_client import AsyncClient, ServiceUnreachable
from affect_contract.errors import AffectError
from tests.small_models import PAIR

LABELS = (None, None, None, "stable")
"""What each client asks for, in turn: most ask for nothing in particular."""


@dataclass
class Seen:
    """What the clients met."""

    answers: list[tuple[float, int]] = field(default_factory=list)
    """When, and which version it was."""
    failures: list[str] = field(default_factory=list)
    latencies_ms: list[float] = field(default_factory=list)

    def first_answer(self, version: int, after: float) -> float:
        """Seconds until a version answered, from a moment on."""
        return min(moment for moment, one in self.answers if one == version and moment >= after) - after

    def versions(self, start: float, end: float) -> set[int]:
        """Those that answered in a stretch."""
        return {version for moment, version in self.answers if start <= moment < end}


@asynccontextmanager
async def load(url: str, pictures: Sequence[bytes], clients: int = 4) -> AsyncIterator[Seen]:
    """Ask until the end of the block; no client tries anything twice, and an answer of two versions is a failure."""
    seen, ended = Seen(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(_ask(url, pictures, LABELS[number % len(LABELS)], seen, ended))
        try:
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
            seen.latencies_ms.append((time.monotonic() - started) * 1000)
            versions = {answer.model.versions[name] for name in PAIR}
            if len(versions) > 1:
                seen.failures.append(f"{label}: one answer of the versions {versions}")
            seen.answers.append((time.monotonic(), max(versions)))
