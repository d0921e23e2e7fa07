"""Trials that each image must pass: it trains, checks models, serves, explains failures, and ends on SIGTERM."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import httpx
from scripts.image_builders import Builder, Container, Mount

from affect_contract.labels import LABELS
from affect_testbed.model_server.process import free_port, model_server

_FACES: Final = 64
_WAIT_S: Final = 120.0


class TrialError(Exception):
    """An image does not do what it is for."""


class Gateway(NamedTuple):
    """A gateway in a container that is ready."""

    container: Container
    process: subprocess.Popen[str]
    url: str
    ready_s: float
    """Seconds from its start until it was ready, less the time that an empty container takes to start."""


def train(builder: Builder, folder: Path) -> None:
    """Train on synthetic faces, and publish the models."""
    for name in ("data", "models", "cache"):
        (folder / name).mkdir()
        (folder / name).chmod(0o777)
    mounts = [Mount(folder / name, f"/{name}") for name in ("data", "models", "cache")]
    with _container(builder, "affect-train", mounts) as container:
        _finish(
            container, "python", "-m", "affect_dataset.faces", "--out", "/data/faces", "--count", str(_FACES), bare=True
        )
        _finish(
            container, "--data", "/data/faces", "--models", "/models", "--base-path", str(folder / "models"),
            "--backbones", "mobilenet_v2,custom_cnn", "--weights", "none", "--epochs", "2",
        )  # fmt: skip


def check(builder: Builder, folder: Path) -> None:
    """Check that TensorFlow Serving can serve the published models."""
    with _container(builder, "affect-tools", [Mount(folder / "models", "/models")]) as container:
        served = _finish(container, "affect-models", "check", "--models", "/models")
    if "mobilenet_v2_affect" not in served:
        raise TrialError(f"affect-models check says {served!r}")


def list_load_users(builder: Builder, _folder: Path) -> None:
    """Check that the load tests and their dependencies are installed."""
    with _container(builder, "affect-tools", []) as container:
        users = _finish(container, "locust", "--list")
    if "HttpUser" not in users:
        raise TrialError(f"locust --list says {users!r}")


def serve_embedded(builder: Builder, folder: Path) -> str:
    """Serve from one container, to plain HTTP and to the client in the tools image."""
    with _gateway(builder, "affect-embedded", [Mount(folder / "models", "/models")], {}) as gateway:
        _predict(gateway, folder)
        with _container(builder, "affect-tools", [Mount(folder / "data", "/data")]) as tools:
            picture = "/data/faces/images/1.jpg"
            answer = json.loads(_finish(tools, "affect-predict", picture, "--url", gateway.url, "--json"))
            if answer["expression"] not in LABELS:
                raise TrialError(f"affect-predict says {answer}")
    return _ready(gateway)


def serve_with_model_server(builder: Builder, folder: Path) -> str:
    """Serve with a gateway in front of a model server on the published models."""
    with model_server(folder / "models", folder) as (_, port):
        target = {"AFFECT_TFSERVING": f"127.0.0.1:{port}"}
        with _gateway(builder, "affect-gateway", [], target) as gateway:
            _predict(gateway, folder)
    return _ready(gateway)


def explain_failures(builder: Builder, folder: Path) -> None:
    """Check the error and the failing probe without models and without permission, and that both can be mended."""
    empty, closed = folder / "empty", folder / "closed"
    for place, mode, sentence in ((empty, 0o755, "has no model of any backbone"), (closed, 0o700, "Permission denied")):
        place.mkdir(mode=mode)
        with _container(builder, "affect-embedded", [Mount(place, "/models")]) as container:
            _refuses(container, 2, sentence)
            _refuses(container, 1, "no answer", "python", "-m", "affect_serving.probe", bare=True)
    closed.rmdir()
    (folder / "models").rename(closed)
    with _gateway(builder, "affect-embedded", [Mount(closed, "/models")], {}) as gateway:
        _predict(gateway, folder)
    closed.rename(folder / "models")


TRIALS: Final[Sequence[tuple[str, str, Callable[[Builder, Path], str | None]]]] = (
    ("affect-train", "trained on synthetic faces and published", train),
    ("affect-tools", "checked the models", check),
    ("affect-tools", "has the users of the load tests", list_load_users),
    ("affect-embedded", "answered, was healthy, ended with 0", serve_embedded),
    ("affect-gateway", "answered from a model server, was healthy, ended with 0", serve_with_model_server),
    ("affect-embedded", "explained what was wrong, answered once it was mended", explain_failures),
)
"""The trials by image, in an order in which each finds the files that it needs from earlier ones."""


@contextmanager
def _container(builder: Builder, image: str, mounts: Sequence[Mount], **environment: str) -> Iterator[Container]:
    container = builder.container(image, mounts, environment)
    try:
        yield container
        container.check_unwritten()
    finally:
        container.remove()


@contextmanager
def _gateway(builder: Builder, image: str, mounts: Sequence[Mount], environment: dict[str, str]) -> Iterator[Gateway]:
    """Run a gateway until the block ends, and require exit status 0."""
    http, rpc = free_port(), free_port()
    ports = {"AFFECT_HTTP_PORT": str(http), "AFFECT_GRPC_PORT": str(rpc)}
    with _container(builder, image, mounts, **environment, **ports) as container:
        idle = _timed(lambda: _finish(container, "true", bare=True))
        started = time.perf_counter()
        process = container.start()
        try:
            line = process.stdout.readline() if process.stdout else ""
            ready_s = time.perf_counter() - started - idle
            if "ready on" not in line:
                raise TrialError(f"{image} says {line!r}: {process.communicate()[1][-2000:]}")
            yield Gateway(container, process, f"http://127.0.0.1:{http}", ready_s)
        finally:
            container.terminate(process)
            _, log = process.communicate(timeout=_WAIT_S)
        if process.returncode != 0:
            raise TrialError(f"{image} ended with {process.returncode} after SIGTERM: {log[-2000:]}")


def _predict(gateway: Gateway, folder: Path) -> None:
    """Check that the gateway is healthy and answers for each of eight pictures."""
    ends = time.monotonic() + _WAIT_S
    while httpx.get(f"{gateway.url}/readyz").status_code != httpx.codes.OK:
        if time.monotonic() > ends:
            raise TrialError(f"not ready: {httpx.get(f'{gateway.url}/readyz').text}")
        time.sleep(0.1)
    _finish(gateway.container, "python", "-m", "affect_serving.probe", bare=True)
    for picture in sorted((folder / "data/faces/images").iterdir())[:8]:
        response = httpx.post(
            f"{gateway.url}/predict", content=picture.read_bytes(), headers={"Content-Type": "image/jpeg"}
        )
        if response.status_code != httpx.codes.OK or response.json()["expression"] not in LABELS:
            raise TrialError(f"/predict answers {response.status_code}: {response.text}")


def _ready(gateway: Gateway) -> str:
    return f"ready in {gateway.ready_s:.1f} s"


def _finish(container: Container, *words: str, bare: bool = False) -> str:
    """Run a program to its end, require exit status 0, and return what it printed."""
    process = container.start(*words, entrypoint=not bare)
    out, err = process.communicate(timeout=_WAIT_S * 3)
    if process.returncode:
        raise TrialError(f"{' '.join(words)} ended with {process.returncode}: {out[-2000:]}{err[-4000:]}")
    return out


def _refuses(container: Container, status: int, sentence: str, *words: str, bare: bool = False) -> None:
    process = container.start(*words, entrypoint=not bare)
    output = "".join(process.communicate(timeout=_WAIT_S))
    if process.returncode != status or sentence not in output or "Traceback" in output:
        raise TrialError(f"ended with {process.returncode} instead of {status}, saying {output[-2000:]!r}")


def _timed(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started
