"""Compare the gateway in front of a model server with direct calls of the model server.

Load generator and model server share one core, and the gateway has the other. The direct client decodes the pictures
itself. The first model server answers at once; with it, figures for operators are measured too: how soon the gateway is
ready, its memory after 10,000 requests, and how soon it serves again after the model server was restarted. With
``--models`` a second one runs a fused MobileNetV2: the server that ``TFSERVING_BIN`` names, else the tests' stand-in.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil

from affect_contract.arguments import seconds, whole_number
from affect_contract.commands import CommandParser
from affect_dataset.faces.synthetic import write_faces
from affect_serving.core.api_keys import new_key
from affect_testbed.model_server.process import free_port, model_server, server_command

BENCH = Path(__file__).resolve().parent
FACES = 64
LOAD_CORE, GATEWAY_CORE = 0, 1
MANY, ONE = 16, 1
REQUESTS_BEFORE_SIZE = 10_000


class Gateway(NamedTuple):
    """A running gateway: its process and its URLs."""

    process: psutil.Process
    http: str
    rpc: str


class Measured(NamedTuple):
    """The figures of one way to send requests."""

    pictures_per_s: float
    p50_ms: float
    cpu_ms: float
    """CPU time of the gateway per picture."""


def main() -> None:
    """Run the benchmark and print its figures."""
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_faces(root / "faces", FACES)
        pictures = options.pictures or root / "faces" / "images"
        port = free_port()
        with _pinned([sys.executable, str(BENCH / "instant_model_server.py"), str(port)], LOAD_CORE):
            _print_table("Behind a model server that answers at once", _compare(port, pictures, options))
            _print_size(port, pictures)
            _print_recovery()
            _print_cost_of_everything(root, port, pictures, options)
        if options.models:
            with _pinned_model_server(options.models, root) as port:
                _print_table(
                    f"Behind a fused MobileNetV2 run by {server_command()[-1]}", _compare(port, pictures, options)
                )


def _compare(port: int, pictures: Path, options: argparse.Namespace) -> dict[str, Measured]:
    rounds: dict[str, list[Measured]] = {}
    with _gateway(port) as gateway:
        address = gateway.rpc.removeprefix("grpc://")
        loads = {
            "directly, over gRPC": ["rpc_load.py", "direct", f"127.0.0.1:{port}"],
            "gateway, over HTTP": ["load.py", f"{gateway.http}/predict"],
            "gateway, over gRPC": ["rpc_load.py", "gateway", address],
        }
        for number in range(options.rounds):
            for name, load in loads.items():
                rounds.setdefault(name, []).append(_measure(load, gateway, pictures, options.seconds))
                print(f"round {number + 1}, {name}: done", file=sys.stderr)
    return {name: Measured(*map(statistics.median, zip(*several, strict=True))) for name, several in rounds.items()}


def _print_cost_of_everything(root: Path, port: int, pictures: Path, options: argparse.Namespace) -> None:
    """Compare the gateway's defaults with everything switched on, in turns."""
    key = new_key("bench", root / "keys")
    everything = ["--api-keys-file", str(root / "keys"), "--log-format", "json", "--canary-percent", "1"]
    ways = {
        "as it comes": [],
        "all on, a tenth logged": [*everything, "--access-log-sample", "0.1"],
        "all on, all logged": [*everything, "--access-log-sample", "1"],
    }
    rounds: dict[tuple[str, str], list[Measured]] = {}
    for _ in range(options.rounds):
        for name, flags in ways.items():
            with _gateway(port, *flags) as gateway:
                address = gateway.rpc.removeprefix("grpc://")
                loads = {"HTTP": ["load.py", f"{gateway.http}/predict"], "gRPC": ["rpc_load.py", "gateway", address]}
                for surface, load in loads.items():
                    keyed = [*load, "--api-key", key]
                    rounds.setdefault((surface, name), []).append(_measure(keyed, gateway, pictures, options.seconds))
    medians = {way: Measured(*map(statistics.median, zip(*several, strict=True))) for way, several in rounds.items()}
    for surface in ("HTTP", "gRPC"):
        _print_table(f"{surface}, with what can be switched on", {name: medians[surface, name] for name in ways})


def _measure(load: list[str], gateway: Gateway, pictures: Path, seconds: float) -> Measured:
    _load(load, pictures, MANY, 1.0)
    before = sum(gateway.process.cpu_times()[:2])
    many = _load(load, pictures, MANY, seconds)
    cpu_ms = (sum(gateway.process.cpu_times()[:2]) - before) / many["pictures"] * 1000
    one = _load(load, pictures, ONE, seconds)
    if many["failed"] or one["failed"]:
        sys.exit(f"{many['failed'] + one['failed']:.0f} requests failed, the figures are void")
    return Measured(many["pictures"] / many["seconds"], one["p50_ms"], cpu_ms)


def _load(load: list[str], pictures: Path, in_flight: int, seconds: float) -> dict[str, float]:
    script, *arguments = load
    command = [sys.executable, str(BENCH / script), *arguments, "--pictures", str(pictures)]
    command += ["--in-flight", str(in_flight), "--seconds", str(seconds)]
    with _pinned(command, LOAD_CORE, stdout=subprocess.PIPE) as process:
        printed, _ = process.communicate()
    result: dict[str, float] = json.loads(printed)
    return result


@contextmanager
def _pinned(command: list[str], core: int, stdout: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process on one core, and end it with the block."""
    environment = os.environ | {"PYTHONPATH": str(BENCH.parent)}
    process = subprocess.Popen(command, stdout=stdout, env=environment)
    os.sched_setaffinity(process.pid, {core})
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


@contextmanager
def _gateway(port: int, *flags: str) -> Iterator[Gateway]:
    command = [sys.executable, "-c", _ON_ITS_CORE, "--tfserving", f"127.0.0.1:{port}", "--http-port", "0"]
    command += ["--grpc-port", "0", "--drain-delay-s", "0", *flags]
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        line = process.stdout.readline().split() if process.stdout else []
        try:
            yield Gateway(psutil.Process(process.pid), line[3], line[5])
        finally:
            process.terminate()


_ON_ITS_CORE = (
    f"import os, sys; os.sched_setaffinity(0, {{{GATEWAY_CORE}}}); "
    "from affect_serving.__main__ import main; sys.exit(main())"
)
"""Code that pins the process before its first thread; later threads inherit the core."""


@contextmanager
def _pinned_model_server(models: Path, root: Path) -> Iterator[int]:
    with model_server(models.resolve(), root) as (process, port):
        for thread in psutil.Process(process.pid).threads():
            with suppress(ProcessLookupError):  # the thread may have ended meanwhile
                os.sched_setaffinity(thread.id, {LOAD_CORE})
        yield port


def _print_table(title: str, ways: dict[str, Measured]) -> None:
    base = next(iter(ways.values()))
    print(f"\n{title}:")
    print(f"{'':22}{f'pictures/s, {MANY} in flight':>28}{f'p50, {ONE} in flight':>26}{'gateway CPU-ms a picture':>28}")
    for name, one in ways.items():
        pace = f"{one.pictures_per_s:.0f} ({one.pictures_per_s / base.pictures_per_s:.2f}x)"
        p50 = f"{one.p50_ms:.2f} ms ({one.p50_ms - base.p50_ms:+.2f})"
        print(f"{name:22}{pace:>28}{p50:>26}{one.cpu_ms:>28.2f}")


def _print_size(port: int, pictures: Path) -> None:
    started = time.perf_counter()
    with _gateway(port) as gateway:
        _wait_ready(gateway.http)
        ready_s = time.perf_counter() - started
        asked = 0.0
        while asked < REQUESTS_BEFORE_SIZE:
            asked += _load(["load.py", f"{gateway.http}/predict"], pictures, MANY, 5.0)["pictures"]
        size_mb = gateway.process.memory_info().rss / 2**20
    print(f"\nReady {ready_s:.2f} s after its start; {size_mb:.0f} MB resident after {asked:.0f} requests.")


def _print_recovery() -> None:
    """Print how soon the gateway serves after its model server has started, and after it was restarted."""
    port = free_port()
    command = [sys.executable, str(BENCH / "instant_model_server.py"), str(port)]
    with _gateway(port) as gateway:
        for _ in range(2):
            with _pinned(command, LOAD_CORE):
                _wait_port(port)
                back = time.perf_counter()
                _wait_ready(gateway.http)
                print(f"Serves {time.perf_counter() - back:.2f} s after its model server is there.")
            time.sleep(3)


def _wait_port(port: int) -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.01)
        else:
            return


def _wait_ready(http: str) -> None:
    while True:
        try:
            answer = httpx.get(f"{http}/readyz", timeout=1, trust_env=False)
        except httpx.HTTPError:
            continue
        if answer.status_code == httpx.codes.OK:
            return
        time.sleep(0.01)


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="python bench/gateway.py",
        description="Compare a gateway before a model server with asking the model server directly.",
        examples=(
            "python bench/gateway.py",
            "python bench/gateway.py --models models",
        ),
    )
    parser.add_argument(
        "--models",
        type=Path,
        metavar="DIR",
        help="models directory with mobilenet_v2_affect, to measure with a real model too (default: none)",
    )
    parser.add_argument(
        "--pictures", type=Path, metavar="DIR", help="folder of JPEG files (default: synthetic faces of 224 x 224)"
    )
    parser.add_argument(
        "--seconds", type=seconds, default=6.0, metavar="SECONDS", help="length of each load (default: %(default)g)"
    )
    parser.add_argument(
        "--rounds",
        type=whole_number(1),
        default=3,
        metavar="N",
        help="rounds, of which the median counts (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    main()
