"""Publish, promote, roll back and delete versions under load, on both runtimes.

Clients request the stable version without pause while `affect-models` works through rounds of publish, promote,
rollback, promote, prune. Printed are the requests and failures, the time until a moved label answers, from the start of
the command and from the rewrite of the file, the latency meanwhile, and the gateway's memory after the first and the
last round. The model server is the one that ``TFSERVING_BIN`` names, else the tests' stand-in.
"""

import argparse
import asyncio
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from affect_contract.arguments import seconds, whole_number
from affect_contract.commands import CommandParser
from affect_contract.versions import STABLE
from affect_registry import store
from affect_registry.publication import publish
from affect_testbed import small_models
from affect_testbed.continuous_requests import POLL_S, ResponseLog, continuous_requests
from affect_testbed.gateway_process import gateway_process
from affect_testbed.model_server import process
from affect_testbed.pictures import encoded, patches

PICTURES = [encoded(patches(seed=seed)) for seed in range(8)]


@dataclass
class VersionChanges:
    """The figures of all version changes on one runtime."""

    commands_s: list[float] = field(default_factory=list)
    moves_s: list[float] = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)


def main() -> None:
    """Run the benchmark on both runtimes and print the figures."""
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        small_models.make(root / "made")
        for name, runtime in (("embedded", _embedded), (process.server_command()[-1], _behind_model_server)):
            models = root / name.replace("/", "-")
            models.mkdir()
            publish(models, small_models.staged(root / "made", 1, models))
            with runtime(models, root) as (url, observer, pid):
                log, measured = asyncio.run(_run(url, observer, pid, models, root / "made", options))
            _print(name, log, measured)


async def _run(
    url: str, observer: list[str], pid: int, models: Path, made: Path, options: argparse.Namespace
) -> tuple[ResponseLog, VersionChanges]:
    measured, ends, number = VersionChanges(), time.monotonic() + options.seconds, 1
    async with continuous_requests(url, PICTURES, options.clients) as log:
        while time.monotonic() < ends:
            number += 1
            await asyncio.to_thread(_publish, models, made, number)
            for verb, version in (("promote", number), ("rollback", number - 1), ("promote", number)):
                more = ["--version", str(number)] if verb == "promote" else []
                await _timed(models, [verb, *more, *observer], version, log, measured)
            await _command(models, ["prune", "--keep", "2"])
            measured.memory_mb.append(psutil.Process(pid).memory_info().rss / 2**20)
    return log, measured


async def _timed(models: Path, words: list[str], version: int, log: ResponseLog, measured: VersionChanges) -> None:
    """Run a command that moves the label; record the time it took, and the time from rewrite to first answer."""
    started = time.monotonic()
    running = asyncio.create_task(_command(models, words))
    while store.read(models)[small_models.PAIR[0]].labels[STABLE] != version:
        await asyncio.sleep(POLL_S)
    rewritten = time.monotonic()
    await running
    measured.commands_s.append(time.monotonic() - started)
    measured.moves_s.append(await log.first_answer(version, rewritten, timeout_s=60))


async def _command(models: Path, words: list[str]) -> None:
    command = [sys.executable, "-m", "affect_models.__main__", *words, "--models", str(models)]
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)


def _publish(models: Path, made: Path, number: int) -> None:
    seed = number % len(small_models.SEEDS) + 1
    publish(models, small_models.staged(made, seed, models))
    shutil.rmtree(models / f".staged-{seed}")


@contextmanager
def _embedded(models: Path, _root: Path) -> Iterator[tuple[str, list[str], int]]:
    with gateway_process("--models", models) as (running, url, _):
        yield url, ["--url", url], running.pid


@contextmanager
def _behind_model_server(models: Path, root: Path) -> Iterator[tuple[str, list[str], int]]:
    with (
        process.model_server(models, root) as (_, port),
        gateway_process("--tfserving", f"127.0.0.1:{port}") as (running, url, _),
    ):
        yield url, ["--tfserving", f"127.0.0.1:{port}"], running.pid


def _print(name: str, log: ResponseLog, measured: VersionChanges) -> None:
    latencies = sorted((one.came - one.asked) * 1000 for one in log.answers)
    print(f"\n{name}:")
    print(f"  requests {len(log.answers):,}, failed {len(log.failures)}, labels moved {len(measured.moves_s)} times")
    print(f"  first answer of the new version after the rewrite: {_spread(measured.moves_s)}")
    print(f"  the whole command: {_spread(measured.commands_s)}")
    print(f"  latency p50 {latencies[len(latencies) // 2]:.1f} ms, p99 {latencies[len(latencies) * 99 // 100]:.1f} ms")
    first, last = measured.memory_mb[0], measured.memory_mb[-1]
    print(f"  gateway's memory after the first round {first:.0f} MB, after the last {last:.0f} MB")
    for failure in log.failures[:5]:
        print(f"  failed: {failure}")


def _spread(seconds: list[float]) -> str:
    return f"median {statistics.median(seconds):.2f} s, longest {max(seconds):.2f} s"


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="python bench/versions.py",
        description="Publish, promote, roll back and delete versions under load, on both runtimes.",
        examples=("python bench/versions.py --seconds 60",),
    )
    parser.add_argument(
        "--seconds", type=seconds, default=60.0, metavar="SECONDS", help="time for each runtime (default: %(default)g)"
    )
    parser.add_argument(
        "--clients",
        type=whole_number(1),
        default=8,
        metavar="N",
        help="clients that ask all the time (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    main()
