"""The thread that writes the log, so that a reader of it who is slow, stuck or gone holds up no request."""

import logging
import os
import queue
import select
import threading
import time
from typing import Final

_MOST_WAITING: Final = 10_000
"""Lines that may wait to be written; some megabytes."""
_TOGETHER_S: Final = 0.02
"""How long a line waits for others: a thread that wakes for each takes Python's lock from those that answer."""
_LAST_LINES_S: Final = 1.0
"""How long the end of the process waits for lines that nobody reads."""


class LogWriter(logging.Handler):
    """Writes lines to a file descriptor in their order; those that find no room are dropped, and counted in the log.

    Args:
        descriptor: where to, past Python's buffers, whose lock a write that hangs would keep from the process's end.
        most_waiting: lines that may wait.
    """

    def __init__(self, descriptor: int, most_waiting: int = _MOST_WAITING) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._most_waiting = most_waiting
        # Reentrant, unlike queue.Queue: a finalizer may log in the middle of a line.
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._dropped = 0
        self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        try:
            line = self.format(record)
        except Exception:  # a handler never raises into what is logged
            self.handleError(record)
            return
        if self._lines.qsize() < self._most_waiting:
            self._lines.put(line)
        else:
            self._dropped += 1

    def close(self) -> None:
        """Write what waits, as long as somebody reads."""
        self._lines.put(None)
        self._thread.join(_LAST_LINES_S)
        super().close()

    def _write_all(self) -> None:
        # Without the handler's lock, which whoever ends the log holds while it waits for this thread.
        told, ended = 0, False
        while not ended:
            lines = [self._lines.get()]
            time.sleep(_TOGETHER_S)
            lines += [self._lines.get_nowait() for _ in range(self._lines.qsize())]
            ended = None in lines
            self._write([line for line in lines if line is not None])
            dropped = self._dropped
            if dropped > told:
                text = "%d lines of the log were dropped: they came faster than they were read"
                record = logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, (dropped - told,), None)
                self._write([self.format(record)])
                told = dropped

    def _write(self, lines: list[str]) -> None:
        rest = "".join(f"{line}\n" for line in lines).encode(errors="backslashreplace")
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # somebody who shares it made it so
                select.select([], [self._descriptor], [])
            except OSError:  # its reader is gone, or its disk full, and there is nobody else to tell
                return
