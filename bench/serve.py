"""Compare the gateway with a tutorial's server, on the same fused MobileNetV2 SavedModel and the same pictures.

Each server runs alone, one process, and the load comes from another process on the same machine. The servers
take turns for several rounds; the table shows medians.
"""

import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from affect_contract.arguments import seconds, whole_number
from affect_contract.commands import CommandParser
from affect_contract.models import fused
from affect_dataset.faces.synthetic import write_faces
from affect_registry.store import SAVED_MODEL_FILE, versions_on_disk

FACES = 64
MANY, ONE = 16, 1
START_S = 120.0


@dataclass
class Measured:
    """The figures of one server in one round."""

    ready_s: float
    memory_mb: float
    pictures_per_s: float
    p50_ms: float
    cpu_ms: float


@dataclass(frozen=True)
class Server:
    """A server: its name, and how to start it on a port."""

    name: str
    command: Callable[[int], list[str]]
    environment: dict[str, str]


def measure(server: Server, pictures: Path, seconds: float) -> Measured:
    """Start a server, measure it under load, and stop it."""
    port = _free_port()
    started = time.perf_counter()
    process = subprocess.Popen(
        server.command(port),
        env=os.environ | server.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_ready(port, process)
        ready_s = time.perf_counter() - started
        url = f"http://127.0.0.1:{port}/predict"
        _load(url, pictures, MANY, 1.0)  # warms up what the first requests compile or cache
        usage = psutil.Process(process.pid)
        before = sum(usage.cpu_times()[:2])
        many = _load(url, pictures, MANY, seconds)
        cpu_ms = (sum(usage.cpu_times()[:2]) - before) / many["pictures"] * 1000
        one = _load(url, pictures, ONE, seconds)
        memory_mb = usage.memory_info().rss / 2**20
    finally:
        process.terminate()
        process.wait()
    if many["failed"] or one["failed"]:
        sys.exit(f"{server.name}: {many['failed'] + one['failed']:.0f} requests failed, the figures are void")
    return Measured(ready_s, memory_mb, many["pictures"] / many["seconds"], one["p50_ms"], cpu_ms)


def main() -> None:
    """Run the benchmark and print its table."""
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_faces(root / "faces", FACES)
        models = options.models or _train(root)
        pictures = options.pictures or root / "faces" / "images"
        one = _only_fused(models, root / "one")
        servers = [_tutorial(one), _ours("ours, one model", one), _ours("ours, all models", models)]
        rounds: dict[str, list[Measured]] = {server.name: [] for server in servers}
        for number in range(options.rounds):
            for server in servers:
                rounds[server.name].append(measure(server, pictures, options.seconds))
                print(f"round {number + 1}, {server.name}: done", file=sys.stderr)
    _print_table({name: _medians(measured) for name, measured in rounds.items()})


def _tutorial(models: Path) -> Server:
    model = next(iter(_fused_versions(models)))
    return Server(
        "FastAPI + tf.saved_model.load",
        lambda port: [
            *(sys.executable, "-m", "uvicorn", "bench.tutorial_server:app"),
            *("--port", str(port), "--log-level", "warning"),
        ],
        {"MODEL": str(model), "PYTHONPATH": str(Path(__file__).resolve().parent.parent)},
    )


def _ours(name: str, models: Path) -> Server:
    return Server(
        name,
        lambda port: [
            sys.executable,
            "-m",
            "affect_serving",
            "--models",
            str(models),
            "--http-port",
            str(port),
            "--grpc-port",
            "0",
            "--drain-delay-s",
            "0",
        ],
        {},
    )


def _train(root: Path) -> Path:
    command = [
        *(sys.executable, "-m", "affect_training", "--data", str(root / "faces"), "--models", str(root / "models")),
        *("--cache", str(root / "cache"), "--weights", "none", "--epochs", "1"),
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return root / "models"


def _only_fused(models: Path, target: Path) -> Path:
    """Copy the fused MobileNetV2 into a models directory of its own."""
    version = max(_fused_versions(models), key=lambda path: int(path.name))
    shutil.copytree(version, target / version.parent.name / version.name)
    return target


def _fused_versions(models: Path) -> list[Path]:
    directory = models / fused("mobilenet_v2").name
    versions = [directory / str(number) for number in versions_on_disk(directory)]
    if not any((version / SAVED_MODEL_FILE).is_file() for version in versions):
        sys.exit(f"{models} has no {directory.name}: train one with affect-train --backbones mobilenet_v2")
    return versions


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _wait_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.perf_counter() + START_S
    while time.perf_counter() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1).close()
            return
        time.sleep(0.02)
    sys.exit("a server did not become ready")


def _load(url: str, pictures: Path, in_flight: int, seconds: float) -> dict[str, float]:
    command = [sys.executable, str(Path(__file__).with_name("load.py")), url, "--pictures", str(pictures)]
    command += ["--in-flight", str(in_flight), "--seconds", str(seconds)]
    result: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return result


def _medians(measured: list[Measured]) -> Measured:
    return Measured(*(statistics.median(getattr(one, field) for one in measured) for field in Measured.__annotations__))


def _print_table(servers: dict[str, Measured]) -> None:
    base = next(iter(servers.values()))
    heads = ("ready", "memory", f"pictures/s, {MANY} in flight", f"p50, {ONE} in flight", "CPU-ms a picture")
    print(f"{'':30}" + "".join(f"{head:>26}" for head in heads))
    for name, one in servers.items():
        cells = (
            f"{one.ready_s:.2f} s ({one.ready_s / base.ready_s:.2f}x)",
            f"{one.memory_mb:.0f} MB ({one.memory_mb / base.memory_mb:.2f}x)",
            f"{one.pictures_per_s:.0f} ({one.pictures_per_s / base.pictures_per_s:.2f}x)",
            f"{one.p50_ms:.2f} ms ({one.p50_ms / base.p50_ms:.2f}x)",
            f"{one.cpu_ms:.2f} ({one.cpu_ms / base.cpu_ms:.2f}x)",
        )
        print(f"{name:30}" + "".join(f"{cell:>26}" for cell in cells))


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="python bench/serve.py",
        description="Compare the gateway with the server of a tutorial, on the same model and pictures.",
        examples=(
            "python bench/serve.py",
            "python bench/serve.py --models models --rounds 5",
        ),
    )
    parser.add_argument(
        "--models",
        type=Path,
        metavar="DIR",
        help="models directory (default: one that is trained for this run, one epoch)",
    )
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="folder of JPEG files (default: synthetic faces)")
    parser.add_argument(
        "--rounds",
        type=whole_number(1),
        default=3,
        metavar="N",
        help="rounds, of which the median counts (default: %(default)s)",
    )
    parser.add_argument(
        "--seconds", type=seconds, default=6.0, metavar="SECONDS", help="length of each load (default: %(default)g)"
    )
    return parser


if __name__ == "__main__":
    main()
