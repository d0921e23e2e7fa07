"""A log handler that writes in a thread of its own, so that a slow or stuck reader of the log delays no request."""

import logging
import os
import queue
import select
import threading
import time
from typing import Final

_MAX_QUEUED: Final = 10_000
"""Lines that may wait to be written; they take some megabytes."""
_BATCH_S: Final = 0.02
"""Time for which lines are collected before they are written, in seconds: a thread that wakes for every single line
would take Python's lock from the event loop too often."""
_FLUSH_S: Final = 1.0
"""Time that the process waits at its end for the last lines to be written, in seconds."""


class LogWriter(logging.Handler):
    """Writes lines to a file descriptor in order; lines that find the queue full are dropped, and their number logged.

    Args:
        descriptor: the file descriptor to write to. It bypasses Python's buffered files, since a write that hangs
            would hold their lock, and keep the process from ending.
        max_queued: lines that may wait to be written.
    """

    def __init__(self, descriptor: int, max_queued: int = _MAX_QUEUED) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._max_queued = max_queued
        # Reentrant, unlike queue.Queue: a finalizer may log in the middle of a line.
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._dropped = 0
        self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the record's line for the thread, or drop it if the queue is full."""
        try:
            line = self.format(record)
        except Exception:  # logging must not raise into the code that logs
            self.handleError(record)
            return
        if self._lines.qsize() < self._max_queued:
            self._lines.put(line)
        else:
            self._dropped += 1

    def close(self) -> None:
        """Wait a moment for the queued lines to be written, then close the handler."""
        self._lines.put(None)
        self._thread.join(_FLUSH_S)
        super().close()

    def _write_all(self) -> None:
        # This thread must not take the handler's lock: close() may be called with it held, and waits for this thread.
        reported, ended = 0, False
        while not ended:
            lines = [self._lines.get()]
            time.sleep(_BATCH_S)
            lines += [self._lines.get_nowait() for _ in range(self._lines.qsize())]
            ended = None in lines
            self._write([line for line in lines if line is not None])
            dropped = self._dropped
            if dropped > reported:
                text = "%d lines of the log were dropped: they came faster than they were read"
                record = logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, (dropped - reported,), None)
                self._write([self.format(record)])
                reported = dropped

    def _write(self, lines: list[str]) -> None:
        rest = "".join(f"{line}\n" for line in lines).encode(errors="backslashreplace")
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # another process that shares the descriptor made it non-blocking
                select.select([], [self._descriptor], [])
            except OSError:  # the reader is gone or the disk is full: there is nowhere to report that
                return
