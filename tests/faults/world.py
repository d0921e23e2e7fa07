"""A gateway in a process of its own, and what can be seen of it from outside."""

import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import httpx
import psutil

from affect_testbed.pictures import encoded, patches
from tests.conftest import ROOT

JPEG = encoded(patches())
SERVES_AGAIN_S = 2.0
MORE_MB = 16.0
"""Allocators keep what they had, and lay it out anew; what leaks, leaks more with each of the requests of a fault."""
PATIENCE_S = 30.0
ANSWERED = "answered"


class Census(NamedTuple):
    """What a process holds that it could fail to give back."""

    tasks: int
    threads: int
    files: int


class World:
    """A gateway that runs."""

    def __init__(self, process: subprocess.Popen[str], http: str, rpc: str) -> None:
        self._process = process
        self.seen = psutil.Process(process.pid)
        self.http = http
        self.rpc = rpc

    def ask(self, timeout_ms: int = 1_000) -> str:
        """Ask about a picture on a connection of its own; gives the code of the error, or that it was answered."""
        headers = {"Content-Type": "image/jpeg", "Affect-Timeout-Ms": str(timeout_ms), "Connection": "close"}
        answer = httpx.post(f"{self.http}/predict", content=JPEG, headers=headers, timeout=PATIENCE_S, trust_env=False)
        return ANSWERED if answer.status_code == 200 else answer.json()["code"]

    def states(self) -> dict[int, str]:
        """The versions of the one model that is served, with their states."""
        (model,) = httpx.get(f"{self.http}/models", timeout=PATIENCE_S, trust_env=False).json()["models"]
        return {version["version"]: version["state"] for version in model["versions"]}

    def census(self) -> Census:
        self._process.send_signal(signal.SIGUSR1)
        assert self._process.stdout
        tasks = int(self._process.stdout.readline().split()[1])
        return Census(tasks, self.seen.num_threads(), self.seen.num_fds())

    def memory_mb(self) -> float:
        return self.seen.memory_info().rss / 2**20

    def settled(self) -> Census:
        """The census when it has not changed for some time."""
        last, same = self.census(), 0
        ends = time.monotonic() + PATIENCE_S
        while same < 8 and time.monotonic() < ends:
            time.sleep(0.1)
            now = self.census()
            same = same + 1 if now == last else 0
            last = now
        return last


@contextmanager
def world(*options: object) -> Iterator[World]:
    words = [sys.executable, "-m", "tests.faults.watched_gateway", "--http-port", "0", "--grpc-port", "0"]
    words += ["--drain-delay-s", "0", *map(str, options)]
    with (
        tempfile.TemporaryFile("w+") as log,  # a pipe that nobody reads would hold it up
        subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            assert process.stdout
            ready = re.search(r"ready on (\S+) and grpc://(\S+)", process.stdout.readline())
            assert ready
            yield World(process, ready[1], ready[2])
            process.terminate()
            status = process.wait(PATIENCE_S)
            log.seek(0)
            said = log.read()
            assert status == 0, f"{status}\n{said[-4000:]}"
            assert "never retrieved" not in said, said[-4000:]
        finally:
            process.kill()


def until(condition: Callable[[], bool], timeout_s: float = PATIENCE_S) -> float:
    """Wait for it; gives how long that took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + timeout_s
        time.sleep(0.02)
    return time.monotonic() - began


def survived(there: World, fault: Callable[[], None]) -> None:
    """Bring a fault about and end it, several times; afterwards everything serves, soon, and nothing is left over.

    The first time is no measure of what is left over: threads and connections are made when they are first needed.
    One time within the limit is enough, since others are at work on the machine too.
    """
    times, counts, memory_mb = [], [], []
    for _ in range(3):
        fault()
        times.append(until(lambda: there.ask() == ANSWERED))
        counts.append(there.settled())
        memory_mb.append(there.memory_mb())
    assert min(times) < SERVES_AGAIN_S, times
    _, before, after = counts
    assert after.tasks <= before.tasks, counts
    assert after.threads <= before.threads, counts
    assert after.files <= before.files, counts
    assert memory_mb[2] <= memory_mb[1] + MORE_MB, memory_mb
