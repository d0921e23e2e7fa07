"""Run `affect-serve` as a process of its own."""

import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

END_S = 60


@contextmanager
def gateway_process(*arguments: object) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """Run a gateway on free ports; yield its process, HTTP URL and gRPC URL, and require exit status 0 at the end."""
    command = [sys.executable, "-m", "affect_serving", "--http-port", "0", "--grpc-port", "0", "--drain-delay-s", "0"]
    command += map(str, arguments)
    with (
        tempfile.TemporaryFile("w+") as log,  # a pipe that is not read would fill up
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as running,
    ):
        try:
            assert running.stdout
            ready = re.search(r"ready on (https?://\S+) and (grpcs?://\S+)", running.stdout.readline())
            assert ready, _log_tail(log)
            yield running, ready[1], ready[2]
        finally:
            running.send_signal(signal.SIGTERM)
            try:
                status = running.wait(END_S)
            finally:
                running.kill()
            assert status == 0, f"{status}\n{_log_tail(log)}"


def _log_tail(log: IO[str]) -> str:
    log.seek(0)
    return log.read()[-4000:]
