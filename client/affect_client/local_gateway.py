"""A gateway of one's own for the time of a call."""

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
# Nobody but the caller knows of it, so that nobody has to be told before it ends.
_OPTIONS: Final = ("--host", "127.0.0.1", "--http-port", "0", "--grpc-port", "0", "--drain-delay-s", "0")
_FOR_OTHERS: Final = ("AFFECT_API_KEYS_FILE", "AFFECT_TLS_CERT", "AFFECT_TLS_KEY")
"""Settings of a gateway that others reach, which may be in the environment."""


class Urls(NamedTuple):
    """Where a gateway listens."""

    http: str
    grpc: str


@contextmanager
def local_gateway(models: Path, *, start_s: float = _START_S, stop_s: float = _STOP_S) -> Iterator[Urls]:
    """Serve a models directory on free loopback ports; gives their URLs.

    Args:
        models: the models directory.
        start_s: seconds it may take until it answers.
        stop_s: seconds it may take to end once told; then it is killed.

    Raises:
        ServiceUnreachable: it does not start; the text is its own last word.
    """
    command = [sys.executable, "-m", "affect_serving", "--models", str(models), *_OPTIONS]
    environment = {name: value for name, value in os.environ.items() if name not in _FOR_OTHERS}
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        process = subprocess.Popen(  # noqa: S603
            command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
        )
        try:
            yield _urls(process, log, models, start_s)
        finally:
            _stop(process, stop_s)


def _urls(process: subprocess.Popen[str], log: IO[str], models: Path, start_s: float) -> Urls:
    late = threading.Event()

    def give_up() -> None:
        late.set()
        process.kill()  # which ends the wait for its line

    watchdog = threading.Timer(start_s, give_up)
    watchdog.start()
    try:
        for line in process.stdout or ():
            if ready := _READY.match(line):
                return Urls(*ready.groups())
        process.wait()
    finally:
        watchdog.cancel()
    why = f"no answer within {start_s:g} s; {_last_word(log)}" if late.is_set() else _last_word(log)
    raise ServiceUnreachable(f"the gateway for {models} did not start: {why}")


def _last_word(log: IO[str]) -> str:
    log.seek(0)
    lines = log.read().strip().splitlines()
    return lines[-1].removeprefix("affect-serve: ") if lines else "it said nothing"


def _stop(process: subprocess.Popen[str], stop_s: float) -> None:
    process.terminate()
    try:
        process.wait(stop_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout:
        process.stdout.close()
