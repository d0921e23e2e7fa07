"""`affect-serve` as a process of its own."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def gateway_process(*arguments: object) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """A gateway on free ports; gives its process, its HTTP URL and its gRPC address. It must end well."""
    words = [sys.executable, "-m", "affect_serving", "--http-port", "0", "--grpc-port", "0", "--drain-delay-s", "0"]
    words += map(str, arguments)
    running = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert running.stdout and running.stderr
    try:
        ready = re.search(r"ready on (https?://\S+) and (grpcs?://\S+)", running.stdout.readline())
        assert ready, running.stderr.read()
        yield running, ready[1], ready[2]
    finally:
        running.send_signal(signal.SIGTERM)
        try:
            _, log = running.communicate(timeout=30)
        finally:
            running.kill()
        assert running.returncode == 0, log
