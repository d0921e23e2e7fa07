"""Run a private gateway on a models directory for the duration of a block."""

import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, NamedTuple

from affect_client.errors import ServiceUnreachable

_READY: Final = re.compile(r"affect-serve: ready on (http://\S+) and (grpc://\S+)")
_START_S: Final = 120.0
_STOP_S: Final = 30.0
# Only the caller uses this gateway, so that it need not wait for others to notice before it stops.
_OPTIONS: Final = ("--host", "127.0.0.1", "--http-port", "0", "--grpc-port", "0", "--drain-delay-s", "0")
_PUBLIC_GATEWAY_SETTINGS: Final = ("AFFECT_API_KEYS_FILE", "AFFECT_TLS_CERT", "AFFECT_TLS_KEY")
"""Settings of a public gateway, which are removed from the environment of the private one."""


class GatewayUrls(NamedTuple):
    """The URLs at which a gateway listens."""

    http: str
    grpc: str


@contextmanager
def local_gateway(models: Path, *, start_s: float = _START_S, stop_s: float = _STOP_S) -> Iterator[GatewayUrls]:
    """Serve a models directory on free loopback ports while the block runs, and yield their URLs.

    Args:
        models: the models directory.
        start_s: seconds that the gateway may take to become ready.
        stop_s: seconds that it may take to end after SIGTERM; then it is killed.

    Raises:
        ServiceUnreachable: the gateway does not start; the message ends with the last line of its log.
    """
    command = [sys.executable, "-m", "affect_serving", "--models", str(models), *_OPTIONS]
    environment = {name: value for name, value in os.environ.items() if name not in _PUBLIC_GATEWAY_SETTINGS}
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        process = subprocess.Popen(  # noqa: S603
            command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
        )
        try:
            yield _urls(process, log, models, start_s)
        finally:
            _stop(process, stop_s)


def _urls(process: subprocess.Popen[str], log: IO[str], models: Path, start_s: float) -> GatewayUrls:
    timed_out = threading.Event()

    def give_up() -> None:
        timed_out.set()
        process.kill()  # ends the loop over its output below

    watchdog = threading.Timer(start_s, give_up)
    watchdog.start()
    try:
        for line in process.stdout or ():
            if ready := _READY.match(line):
                return GatewayUrls(*ready.groups())
        process.wait()
    finally:
        watchdog.cancel()
    reason = f"no answer within {start_s:g} s; {_last_log_line(log)}" if timed_out.is_set() else _last_log_line(log)
    raise ServiceUnreachable(f"the gateway for {models} did not start: {reason}")


def _last_log_line(log: IO[str]) -> str:
    log.seek(0)
    lines = log.read().strip().splitlines()
    return lines[-1].removeprefix("affect-serve: ") if lines else "it printed nothing"


def _stop(process: subprocess.Popen[str], stop_s: float) -> None:
    process.terminate()
    try:
        process.wait(stop_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout:
        process.stdout.close()
