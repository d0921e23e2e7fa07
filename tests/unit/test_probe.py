"""The health probe for containers."""

import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from affect_serving import probe

STATUSES = {"/readyz": 503, "/livez": 200}


class Gateway(BaseHTTPRequestHandler):
    """Alive, and ready once it is told to be."""

    def do_GET(self):
        body = b'{"waiting_for": ["mobilenet_v2"]}'
        self.send_response(STATUSES[self.path])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def port(monkeypatch):
    with HTTPServer(("127.0.0.1", 0), Gateway) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("AFFECT_HTTP_PORT", str(server.server_port))
        yield server.server_port
        server.shutdown()


def test_it_passes_when_the_gateway_is_ready(port, monkeypatch):
    monkeypatch.setitem(STATUSES, "/readyz", 200)
    assert probe.main([]) == 0


def test_it_fails_while_the_gateway_is_not_ready_and_says_why(port, capsys):
    assert probe.main([]) == 1
    assert capsys.readouterr().out == '/readyz: 503 {"waiting_for": ["mobilenet_v2"]}\n'


def test_another_path_can_be_asked(port):
    assert probe.main(["/livez"]) == 0


def test_it_fails_where_nothing_answers(monkeypatch, capsys):
    monkeypatch.setenv("AFFECT_HTTP_PORT", "1")
    assert probe.main([]) == 1
    assert capsys.readouterr().out.startswith("/readyz: no answer (")


def test_it_loads_none_of_what_the_gateway_runs_on(port):
    code = (
        "import sys, affect_serving.probe; sys.exit(bool({'pydantic', 'fastapi', 'grpc', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
