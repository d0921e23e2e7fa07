"""Run a model server as a process of its own: the real one that ``TFSERVING_BIN`` names, or the stand-in.

Both are started with the command line that `affect-models flags` prints.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

import grpc

from affect_registry.check import check
from affect_registry.model_server_settings import flags

ROOT = Path(__file__).resolve().parents[2]
START_S = 180.0


def server_command() -> list[str]:
    """Return the command that starts the model server, without its flags."""
    real = os.environ.get("TFSERVING_BIN")
    return [real] if real else [sys.executable, "-m", "affect_testbed.model_server"]


def free_port() -> int:
    """Return a TCP port that is free now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def start(models: Path, port: int, *, in_flight: int = 64, log: Path | None = None) -> subprocess.Popen[bytes]:
    """Start a model server on a models directory without waiting until it answers."""
    mount = PurePosixPath(models)
    assert check(models, mount) == []
    arguments = flags(mount, in_flight=in_flight, port=port, rest_port=free_port())
    command = [*server_command(), *(f"--{name}={value}" for name, value in arguments.items())]
    with (log or Path(os.devnull)).open("ab") as file:
        return subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=file,
            stderr=file,
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"},
            start_new_session=True,
        )


def send(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signal the server's process group, so that a server started through a script gets the signal too."""
    os.killpg(process.pid, number)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Kill the server; the real one ignores SIGTERM when it is a container's first process."""
    with suppress(ProcessLookupError):
        send(process, signal.SIGKILL)
    process.wait()


def wait_until_it_answers(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait until the server opens its port, which it does once all its models are loaded."""
    ends = time.monotonic() + START_S
    # Loading takes long, and by default gRPC would try to connect less and less often.
    with grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.max_reconnect_backoff_ms", 500)]) as channel:
        while time.monotonic() < ends:
            assert process.poll() is None, (
                f"the model server ended with {process.returncode}: {log.read_text()[-2000:]}"
            )
            try:
                grpc.channel_ready_future(channel).result(timeout=0.5)
            except grpc.FutureTimeoutError:
                continue
            return
    raise AssertionError(f"the model server did not answer in {START_S:g} s: {log.read_text()[-2000:]}")


@contextmanager
def model_server(models: Path, folder: Path, port: int | None = None) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run a model server on a models directory, by default on a free port; yield its process and port.

    Its log is written to ``folder``.
    """
    port, log = port or free_port(), folder / "model_server.log"
    process = start(models, port, log=log)
    try:
        wait_until_it_answers(process, port, log)
        yield process, port
    finally:
        stop(process)
