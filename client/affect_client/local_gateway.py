"""A gateway of one's own for the time of a call."""

import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from affect_client.errors import ServiceUnreachable

_READY = re.compile(r"affect-serve: ready on (http://\S+)")
_START_S = 120.0
_STOP_S = 30.0


@contextmanager
def local_gateway(models: Path) -> Iterator[str]:
    """Serve a models directory on a free loopback port; gives the URL.

    Raises:
        ServiceUnreachable: the gateway did not start; the text is its own last word.
    """
    command = [sys.executable, "-m", "affect_serving", "--models", str(models), "--http-port", "0"]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)  # noqa: S603
        # A gateway that hangs while it starts is ended, and that ends the wait for its line.
        watchdog = threading.Timer(_START_S, process.kill)
        watchdog.start()
        try:
            url = _url(process)
            watchdog.cancel()
            if url is None:
                process.wait()
                log.seek(0)
                raise ServiceUnreachable(_last_word(log.read(), models))
            yield url
        finally:
            watchdog.cancel()
            _stop(process)


def _url(process: subprocess.Popen[str]) -> str | None:
    for line in process.stdout or ():
        ready = _READY.match(line)
        if ready:
            return ready[1]
    return None


def _last_word(log: str, models: Path) -> str:
    lines = log.strip().splitlines()
    last = lines[-1].removeprefix("affect-serve: ") if lines else "it said nothing"
    return f"the gateway for {models} did not start: {last}"


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout:
        process.stdout.close()
