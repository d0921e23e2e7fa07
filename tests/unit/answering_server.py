"""Stands in for a gateway's process: answers pictures that hold the word good, refuses others."""

import json
from http.server import BaseHTTPRequestHandler, HTTPServer

ANSWER = {
    "expression": "happy", "expression_id": 1, "confidence": 0.5, "probabilities": {"happy": 0.5},
    "valence": 0.25, "arousal": None,
    "model": {"backbone": "custom_cnn", "versions": {"custom_cnn_classification": 3}}, "request_id": "r",
}  # fmt: skip
PROBLEM = {"title": "Bad Request", "status": 400, "code": "invalid_image", "detail": "bad picture", "request_id": "r"}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        good = b"good" in self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps(ANSWER if good else PROBLEM).encode()
        self.send_response(200 if good else 400)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    server = HTTPServer(("127.0.0.1", 0), Handler)
    print(f"affect-serve: ready on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
