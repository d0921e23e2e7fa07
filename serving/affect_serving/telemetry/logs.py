"""Lines of the log: text, or a JSON document each, with the request that they belong to; and the access log."""

import json
import logging
import random
from datetime import UTC, datetime
from typing import Any, Final

from affect_serving.settings import LogFormat, Settings
from affect_serving.telemetry.log_writer import LogWriter
from affect_serving.telemetry.request_context import current_request

_TEXT: Final = "%(asctime)s %(levelname)s %(name)s %(message)s"
_FIELDS: Final = "fields"
"""Where a record keeps what JSON states beside its message."""

_STDERR: Final = 2

_access: Final = logging.getLogger("affect.access")


class JsonFormatter(logging.Formatter):
    """One JSON document a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The document of a record."""
        document: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request := current_request.get():
            document |= {"request_id": request.request_id, "trace_id": request.trace.trace_id}
        document |= getattr(record, _FIELDS, {})
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document, ensure_ascii=False)


def configure(settings: Settings) -> None:
    """Send the log of this process to stderr as the settings say."""
    handler = LogWriter(_STDERR)
    handler.setFormatter(JsonFormatter() if settings.log_format is LogFormat.JSON else logging.Formatter(_TEXT))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler])
    # Warns of each broken form; a stranger's form writes nothing into the log.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)


class AccessLog:
    """One line for a share of the requests, and for each that failed by a fault of the service.

    It names routes, never paths or queries as they came, and keys by their names: nothing of a stranger's making
    but the request's id, which is printable and short.

    Args:
        sample: the share, from 0 to 1.
    """

    def __init__(self, sample: float) -> None:
        self._sample = sample

    def record(self, route: str, status: str, code: str, seconds: float, key: str, *, failed: bool) -> None:
        """Log a request, perhaps.

        Args:
            route: its route or method.
            status: the HTTP or gRPC status.
            code: the error's code; empty where there is none.
            seconds: how long it took.
            key: the name of the caller's key; empty where there is none.
            failed: whether by a fault of the service.
        """
        if not failed and (not self._sample or random.random() >= self._sample):  # noqa: S311 - a sample is no secret
            return
        fields = {"route": route, "status": status, "code": code, "seconds": round(seconds, 6), "key": key}
        request = current_request.get()
        _access.log(
            logging.ERROR if failed else logging.INFO,
            "%s %s %s %.1f ms request %s",
            route, status, code or "ok", seconds * 1000, request.request_id if request else "-",
            extra={_FIELDS: fields},
        )  # fmt: skip
