"""Measure the gateway under five times the load that it can carry.

The gateway, with an embedded MobileNetV2, has one core; the load, which arrives at a fixed rate whether or not earlier
requests are answered (an open loop), has the other. First the saturation rate is measured: the most answers a second,
with as many requests in flight as the gateway works on. Then the load arrives at a multiple of that rate, while /livez
is requested ten times a second; two seconds after its end latency is measured again.
"""

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import psutil
import uvloop

from affect_contract.arguments import positive_number, seconds, whole_number
from affect_contract.commands import CommandParser
from affect_dataset.faces.synthetic import write_faces

LOAD_CORE, GATEWAY_CORE = 0, 1
FACES: Final = 64
MOST_CONNECTIONS: Final = 500
"""Most connections of the load; a request that finds none free waits for one, which counts in its latency."""
QUIET_RATE: Final = 0.2
"""Rate of the load before and after, as a share of the saturation rate."""
SETTLE_S: Final = 2.0

_ON_ITS_CORE = (
    f"import os, sys; os.sched_setaffinity(0, {{{GATEWAY_CORE}}}); "
    "from affect_serving.__main__ import main; sys.exit(main())"
)


@dataclass
class Responses:
    """Latencies by HTTP status, in seconds from the moment that a request was due."""

    by_status: dict[int, list[float]] = field(default_factory=dict)
    seconds: float = 0.0
    late_s: list[float] = field(default_factory=list)
    """Seconds by which the load generator itself was late with each request."""

    def add(self, status: int, seconds: float) -> None:
        """Record the latency of a response."""
        self.by_status.setdefault(status, []).append(seconds)

    def rate(self, status: int = 200) -> float:
        """Return the responses per second with a status."""
        return len(self.by_status.get(status, ())) / self.seconds

    def quantile_ms(self, share: float, status: int = 200) -> float:
        """Return a quantile of the latency in milliseconds; 0 without a response of that status."""
        ordered = sorted(self.by_status.get(status, ()))
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000 if ordered else 0.0


class Load:
    """A load generator with connections to one gateway."""

    def __init__(self, url: str, pictures: Path) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._requests = [self._request(file.read_bytes()) for file in sorted(pictures.glob("*.jpg"))]
        self._free: asyncio.LifoQueue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.LifoQueue()
        self._open = 0

    async def closed_loop(self, in_flight: int, seconds: float) -> Responses:
        """Send as fast as possible with ``in_flight`` requests in flight."""
        responses, started = Responses(), time.perf_counter()

        async def caller(number: int) -> None:
            while time.perf_counter() < started + seconds:
                await self._send(responses, time.perf_counter(), number)
                number += in_flight

        await asyncio.gather(*(caller(number) for number in range(in_flight)))
        responses.seconds = time.perf_counter() - started
        return responses

    async def open_loop(self, rate: float, seconds: float) -> Responses:
        """Send ``rate`` requests a second, each when it is due, whether or not earlier ones are answered."""
        responses, started = Responses(), time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(int(rate * seconds)):
                due = started + number / rate
                if (wait_s := due - time.perf_counter()) > 0:
                    await asyncio.sleep(wait_s)
                group.create_task(self._send(responses, due, number))
            responses.seconds = time.perf_counter() - started
        return responses

    async def _send(self, responses: Responses, due: float, number: int) -> None:
        responses.late_s.append(time.perf_counter() - due)
        reader, writer = await self._connection()
        writer.write(self._requests[number % len(self._requests)])
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(re.search(rb"content-length: (\d+)", head.lower())[1]))  # type: ignore[index]
        self._free.put_nowait((reader, writer))
        responses.add(int(head.split(b" ", 2)[1]), time.perf_counter() - due)

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while not self._free.empty() or self._open >= MOST_CONNECTIONS:
            reader, writer = await self._free.get()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
            self._open -= 1
        self._open += 1
        return await asyncio.open_connection(self._host, self._port)

    def _request(self, body: bytes) -> bytes:
        head = f"POST /predict HTTP/1.1\r\nHost: {self._host}\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body


@contextmanager
def gateway(models: Path) -> Iterator[tuple[psutil.Process, str]]:
    """Run a gateway on its own core; yield its process and its URL."""
    command = [sys.executable, "-c", _ON_ITS_CORE, "--models", str(models), "--backbones", "mobilenet_v2"]
    command += ["--http-port", "0", "--grpc-port", "0", "--drain-delay-s", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline().split() if process.stdout else []
        try:
            yield psutil.Process(process.pid), line[3]
        finally:
            process.terminate()


_PROBE: Final = """
import sys, time, urllib.request
while True:
    started = time.perf_counter()
    urllib.request.urlopen(sys.argv[1] + "/livez", timeout=30).read()
    print(time.perf_counter() - started, flush=True)
    time.sleep(0.1)
"""


@contextmanager
def liveness(url: str) -> Iterator[list[float]]:
    """Request /livez ten times a second from a process of its own; yield a list that gets the seconds at the end."""
    took: list[float] = []
    with subprocess.Popen([sys.executable, "-c", _PROBE, url], stdout=subprocess.PIPE, text=True) as probe:
        try:
            yield took
        finally:
            probe.terminate()
            took += map(float, probe.stdout or ())


@dataclass
class Measured:
    """The figures of one run."""

    saturated: Responses
    before: Responses
    overloaded: Responses
    after: Responses
    alive_s: list[float]
    memory_mb: list[float]


async def measure(url: str, process: psutil.Process, pictures: Path, options: argparse.Namespace) -> Measured:
    """Measure saturation, a quiet period, overload, and a second quiet period."""
    load = Load(url, pictures)
    await load.closed_loop(options.in_flight, 3.0)  # warms up what the first requests compile or cache
    saturated = await load.closed_loop(options.in_flight, options.saturation_s)
    quiet = QUIET_RATE * saturated.rate()
    before = await load.open_loop(quiet, options.saturation_s)
    memory_mb = [process.memory_info().rss / 2**20]
    with liveness(url) as alive_s:
        overloaded = await load.open_loop(options.times * saturated.rate(), options.seconds)
    memory_mb.append(process.memory_info().rss / 2**20)
    await asyncio.sleep(SETTLE_S)
    after = await load.open_loop(quiet, options.saturation_s)
    return Measured(saturated, before, overloaded, after, alive_s, memory_mb)


def print_table(one: Measured, times: float) -> None:
    """Print the figures beside the wanted ones."""
    peak, overloaded = one.saturated, one.overloaded
    others = sum(len(responses) for status, responses in overloaded.by_status.items() if status not in (200, 429))
    p99 = overloaded.quantile_ms(0.99)
    refused = len(overloaded.by_status.get(429, ()))
    rows = [
        ("answers a second at saturation", f"{peak.rate():.0f}", ""),
        (f"answers a second at {times:g} times that rate", f"{overloaded.rate():.0f}", "0.9 of it"),
        ("  of that at saturation", f"{overloaded.rate() / peak.rate():.2f}", ">= 0.90"),
        ("p99 of answers at saturation", f"{peak.quantile_ms(0.99):.0f} ms", ""),
        ("p99 of answers under overload", f"{p99:.0f} ms ({p99 / peak.quantile_ms(0.99):.2f}x)", "<= 2x"),
        ("refused with 429", f"{refused:,}", ""),
        ("p99 of refusals", f"{overloaded.quantile_ms(0.99, 429):.1f} ms", "<= 50 ms"),
        ("slowest refusal", f"{overloaded.quantile_ms(1.0, 429):.1f} ms", ""),
        ("answered with anything else", f"{others}", "0"),
        ("/livez, p99 and slowest", f"{_p99_ms(one.alive_s):.1f} and {max(one.alive_s) * 1000:.1f} ms", "<= 50 ms"),
        ("the load itself was late by, p99", f"{_p99_ms(overloaded.late_s):.1f} ms", "near 0, or none stands"),
        ("memory before and after", " and ".join(f"{mb:.0f} MB" for mb in one.memory_mb), "flat"),
        (
            f"p50 before, and {SETTLE_S:g} s after",
            f"{one.before.quantile_ms(0.5):.1f} and {one.after.quantile_ms(0.5):.1f} ms",
            "alike",
        ),
        (
            "p99 before, and after",
            f"{one.before.quantile_ms(0.99):.1f} and {one.after.quantile_ms(0.99):.1f} ms",
            "alike",
        ),
    ]
    for name, value, wanted in rows:
        print(f"{name:42}{value:>26}   {wanted}")


def _p99_ms(seconds: list[float]) -> float:
    return sorted(seconds)[len(seconds) * 99 // 100] * 1000


def main() -> None:
    """Run the benchmark and print its table."""
    options = _parser().parse_args()
    os.sched_setaffinity(0, {LOAD_CORE})
    with tempfile.TemporaryDirectory() as folder, gateway(options.models) as (process, url):
        write_faces(Path(folder) / "faces", FACES)
        pictures = options.pictures or Path(folder) / "faces" / "images"
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            measured = runner.run(measure(url, process, pictures, options))
    print_table(measured, options.times)
    print(json.dumps({status: len(responses) for status, responses in sorted(measured.overloaded.by_status.items())}))


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="python bench/overload.py",
        description="Measure a gateway under a multiple of the load that it can carry.",
        examples=("python bench/overload.py --models models",),
    )
    parser.add_argument(
        "--models", type=Path, required=True, metavar="DIR", help="models directory with a fused MobileNetV2"
    )
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="folder of JPEG files (default: synthetic faces)")
    parser.add_argument(
        "--times",
        type=positive_number,
        default=5.0,
        metavar="NUMBER",
        help="overload, as a multiple of the saturation rate (default: %(default)g)",
    )
    parser.add_argument(
        "--seconds", type=seconds, default=60.0, metavar="SECONDS", help="length of the overload (default: %(default)g)"
    )
    parser.add_argument(
        "--saturation-s",
        type=seconds,
        default=10.0,
        metavar="SECONDS",
        help="length of each other load (default: %(default)g)",
    )
    parser.add_argument(
        "--in-flight",
        type=whole_number(1),
        default=32,
        metavar="N",
        help="requests at the same time at saturation (default: %(default)s, the gateway's max_in_flight)",
    )
    return parser


if __name__ == "__main__":
    main()
