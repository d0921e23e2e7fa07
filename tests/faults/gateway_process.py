"""A gateway in a process of its own, whose recovery from faults and use of resources a test can observe."""

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
"""Growth of the memory that is no leak: allocators keep memory and fragment it. A leak grows more with each fault."""
PATIENCE_S = 30.0
ANSWERED = "answered"


class Resources(NamedTuple):
    """The numbers of resources that a process holds and could fail to release."""

    tasks: int
    threads: int
    files: int


class GatewayProcess:
    """A running gateway, with the URL of its HTTP API and the address of its gRPC API."""

    def __init__(self, process: subprocess.Popen[str], http: str, rpc: str) -> None:
        self._process = process
        self.process = psutil.Process(process.pid)
        self.http = http
        self.rpc = rpc

    def ask(self, timeout_ms: int = 1_000) -> str:
        """Send a picture on a connection of its own, and return `ANSWERED` or the code of the error."""
        headers = {"Content-Type": "image/jpeg", "Affect-Timeout-Ms": str(timeout_ms), "Connection": "close"}
        answer = httpx.post(f"{self.http}/predict", content=JPEG, headers=headers, timeout=PATIENCE_S, trust_env=False)
        return ANSWERED if answer.status_code == 200 else answer.json()["code"]

    def states(self) -> dict[int, str]:
        """Return the states of the versions of the one model that is served, by version."""
        (model,) = httpx.get(f"{self.http}/models", timeout=PATIENCE_S, trust_env=False).json()["models"]
        return {version["version"]: version["state"] for version in model["versions"]}

    def resources(self) -> Resources:
        self._process.send_signal(signal.SIGUSR1)
        assert self._process.stdout
        tasks = int(self._process.stdout.readline().split()[1])
        return Resources(tasks, self.process.num_threads(), self.process.num_fds())

    def memory_mb(self) -> float:
        return self.process.memory_info().rss / 2**20

    def settled_resources(self) -> Resources:
        """Return the resources once they have not changed for some time."""
        last, same = self.resources(), 0
        ends = time.monotonic() + PATIENCE_S
        while same < 8 and time.monotonic() < ends:
            time.sleep(0.1)
            now = self.resources()
            same = same + 1 if now == last else 0
            last = now
        return last


@contextmanager
def gateway_process(*options: object) -> Iterator[GatewayProcess]:
    words = [sys.executable, "-m", "tests.faults.gateway_with_task_count", "--http-port", "0", "--grpc-port", "0"]
    words += ["--drain-delay-s", "0", *map(str, options)]
    with (
        tempfile.TemporaryFile("w+") as log,  # a pipe that nobody reads would hold it up
        subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            assert process.stdout
            ready = re.search(r"ready on (\S+) and grpc://(\S+)", process.stdout.readline())
            assert ready
            yield GatewayProcess(process, ready[1], ready[2])
            process.terminate()
            status = process.wait(PATIENCE_S)
            log.seek(0)
            said = log.read()
            assert status == 0, f"{status}\n{said[-4000:]}"
            assert "never retrieved" not in said, said[-4000:]
        finally:
            process.kill()


def until(condition: Callable[[], bool], timeout_s: float = PATIENCE_S) -> float:
    """Wait until the condition holds, and return how long that took, in seconds."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + timeout_s
        time.sleep(0.02)
    return time.monotonic() - began


def assert_recovers(gateway: GatewayProcess, fault: Callable[[], None]) -> None:
    """Cause a fault and end it, several times; the gateway must serve again soon, and hold no more resources.

    The first time does not count for the resources, since threads and connections are made when they are first needed.
    One recovery within the time limit is enough, since other processes use the machine too.
    """
    times, counts, memory_mb = [], [], []
    for _ in range(3):
        fault()
        times.append(until(lambda: gateway.ask() == ANSWERED))
        counts.append(gateway.settled_resources())
        memory_mb.append(gateway.memory_mb())
    assert min(times) < SERVES_AGAIN_S, times
    _, before, after = counts
    assert after.tasks <= before.tasks, counts
    assert after.threads <= before.threads, counts
    assert after.files <= before.files, counts
    assert memory_mb[2] <= memory_mb[1] + MORE_MB, memory_mb
