"""The log: its format, text or JSON with the id of the current request, and the access log."""

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
"""The attribute of a record with further fields for its JSON document."""

_STDERR: Final = 2

_access: Final = logging.getLogger("affect.access")


class JsonFormatter(logging.Formatter):
    """Formats each record as a JSON document on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the JSON document for a record."""
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


def configure_logging(settings: Settings) -> None:
    """Send the log of this process to stderr, in the format and from the level that the settings say."""
    handler = LogWriter(_STDERR)
    handler.setFormatter(JsonFormatter() if settings.log_format is LogFormat.JSON else logging.Formatter(_TEXT))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler])
    # It warns of every broken form: callers must not be able to fill the log with that.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)


class AccessLog:
    """Logs one line for a sample of the requests, and for every request that failed by a fault of the service.

    Lines name routes, never paths or queries as sent, and keys by their names. The only text from the caller is the
    request's id, which is short and printable.

    Args:
        sample: the fraction of requests to log, from 0 to 1.
    """

    def __init__(self, sample: float) -> None:
        self._sample = sample

    def record(self, route: str, status: str, code: str, seconds: float, key: str, *, failed: bool) -> None:
        """Log a request that is over, if it failed or falls into the sample.

        Args:
            route: the HTTP route or gRPC method.
            status: the HTTP or gRPC status.
            code: the code of the error; empty if there was none.
            seconds: the time from the request's head to the end of its answer.
            key: the name of the caller's API key; empty if none was required.
            failed: whether the request failed by a fault of the service.
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
