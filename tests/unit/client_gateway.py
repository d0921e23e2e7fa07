"""What a gateway says, without a model behind it: by an httpx transport, on a socket, or as a process of its own."""

import hashlib
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx

LABELS = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")
TITLES = {400: "Bad Request", 404: "Not Found", 429: "Too Many Requests", 503: "Service Unavailable"}

Reply = tuple[int, dict[str, str], Any]


class FakeGateway:
    """Answers by the picture's bytes; what starts with ``bad`` is no picture."""

    def __init__(self, *, backbones=("mobilenet_v2",), tasks=("classification", "regression"), version=1):
        self.backbones, self.tasks, self.version = backbones, tasks, version
        self.asked: list[tuple[bytes, dict[str, str]]] = []
        self.replies: list[Reply] = []
        """Given in place of the next answers to pictures."""

    def reply(self, method: str, path: str, query: dict[str, str], body: bytes) -> Reply:
        if (method, path) == ("GET", "/models"):
            return 200, {}, self.models()
        if (method, path) != ("POST", "/predict"):
            return problem(404, "not_found", f"there is no {path}: see /docs for what there is")
        self.asked.append((body, query))
        if self.replies:
            return self.replies.pop(0)
        if body.startswith(b"bad"):
            return problem(400, "invalid_image", "the bytes are no JPEG, PNG or WebP picture: send one")
        return 200, {}, self.prediction(body, query.get("backbone", self.backbones[0]))

    def prediction(self, picture: bytes, backbone: str) -> dict[str, Any]:
        numbers = hashlib.sha256(picture + backbone.encode()).digest()
        weights = [1 + number for number in numbers[: len(LABELS)]]
        probabilities = [weight / sum(weights) for weight in weights]
        best = probabilities.index(max(probabilities))
        classified, placed = "classification" in self.tasks, "regression" in self.tasks
        return {
            "expression": LABELS[best] if classified else None,
            "expression_id": best if classified else None,
            "confidence": probabilities[best] if classified else None,
            # Backwards: only the names say what is what.
            "probabilities": dict(reversed(list(zip(LABELS, probabilities, strict=True)))) if classified else None,
            "valence": numbers[8] / 127.5 - 1 if placed else None,
            "arousal": numbers[9] / 127.5 - 1 if placed else None,
            "model": {"backbone": backbone, "versions": {f"{backbone}_affect": self.version}},
            "request_id": "r1",
        }

    def models(self) -> dict[str, Any]:
        status = {"version": self.version, "state": "AVAILABLE", "labels": ["stable"]}
        served = [
            {"name": f"{name}_affect", "backbone": name, "tasks": list(self.tasks), "versions": [status]}
            for name in self.backbones
        ]
        return {"default_backbone": self.backbones[0], "models": served}

    def transport(self) -> httpx.MockTransport:
        def handle(request: httpx.Request) -> httpx.Response:
            status, headers, document = self.reply(
                request.method, request.url.path, dict(request.url.params), request.content
            )
            return httpx.Response(status, headers=headers, json=document)

        return httpx.MockTransport(handle)

    @contextmanager
    def listening(self) -> Iterator[str]:
        with _Server(("127.0.0.1", 0), _handler(self)) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_port}"
            finally:
                server.shutdown()
                thread.join()


class _Server(ThreadingHTTPServer):
    request_queue_size = 128


def problem(status: int, code: str, detail: str, **headers: str) -> Reply:
    document = {"title": TITLES[status], "status": status, "code": code, "detail": detail, "request_id": "r1"}
    return status, {"Content-Type": "application/problem+json", **headers}, document


def _handler(gateway: FakeGateway) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            url = urlsplit(self.path)
            status, headers, document = gateway.reply(self.command, url.path, dict(parse_qsl(url.query)), body)
            data = json.dumps(document).encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
            pass

    return Handler


def main() -> None:
    """What ``affect-serve`` promises to whoever starts it."""
    print("a line of the log", file=sys.stderr, flush=True)
    with FakeGateway().listening() as url:
        print(f"affect-serve: ready on {url} and grpc://127.0.0.1:9", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
