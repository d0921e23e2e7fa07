"""Locust users of the HTTP API, who send pictures as raw bodies, forms, base64 in JSON, and batches."""

import base64
import json
import ssl
import uuid
from collections.abc import Iterable
from itertools import islice
from typing import Any, Final

from locust import FastHttpUser, task
from locust.env import Environment

from affect_client.http.client import DEFAULT_URL
from affect_client.options import bearer_authorization
from affect_load.options import TIMEOUT_S
from affect_load.paced_user import PacedUser
from affect_load.request_counts import REFUSED

_OK: Final = 200
_TOO_MANY: Final = 429


class HttpUser(PacedUser, FastHttpUser):  # type: ignore[misc]
    """A user of the HTTP API with one connection that is kept open."""

    weight = 3
    host = DEFAULT_URL
    insecure = False
    connection_timeout = TIMEOUT_S
    network_timeout = TIMEOUT_S

    def __init__(self, environment: Environment) -> None:
        self.ssl_context_factory = self._context
        super().__init__(environment)
        key = self.credentials["api_key"]
        self._headers = {"Authorization": bearer_authorization(key)} if key else {}

    def _context(self) -> ssl.SSLContext:
        roots = self.credentials["root_certificates"]
        return ssl.create_default_context(cadata=roots.decode("ascii") if roots else None)

    @task(4)
    def raw(self) -> None:
        """Send a picture as the raw body."""
        self._send("/predict", "raw", "image/jpeg", next(self.pictures))

    @task(2)
    def form(self) -> None:
        """Send a picture as a form, as browsers do."""
        self._send("/predict", "form", *_form("image", [next(self.pictures)]))

    @task(1)
    def in_json(self) -> None:
        """Send a picture as base64 in JSON."""
        body = json.dumps({"image": base64.b64encode(next(self.pictures)).decode()})
        self._send("/predict", "JSON", "application/json", body.encode())

    @task(1)
    def batch(self) -> None:
        """Send several pictures in one request, which fails if one of them fails."""
        self._send("/predict/batch", "batch", *_form("images", islice(self.pictures, self.options.batch)))

    def _send(self, path: str, name: str, media_type: str, body: bytes) -> None:
        headers = {"Content-Type": media_type, **self._headers}
        with self.client.post(path, data=body, name=name, headers=headers, catch_response=True) as response:
            response.request_meta["request_type"] = "HTTP"
            if response.status_code == _TOO_MANY:
                response.request_meta["request_type"] = REFUSED
                response.success()
            elif response.status_code == _OK and (failed := _failed(response.json())):
                response.failure(failed)


def _failed(answer: dict[str, Any]) -> str | None:
    """Return the code of the first error in a batch's results, if any; the status is 200 in any case."""
    return next((one["error"]["code"] for one in answer.get("results", []) if "error" in one), None)


def _form(part: str, pictures: Iterable[bytes]) -> tuple[str, bytes]:
    """Return the content type and the body of a form with the given pictures."""
    boundary = uuid.uuid4().hex
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{part}"; filename="face"\r\n\r\n'.encode()
    body = b"".join(head + picture + b"\r\n" for picture in pictures)
    return f"multipart/form-data; boundary={boundary}", body + f"--{boundary}--\r\n".encode()
