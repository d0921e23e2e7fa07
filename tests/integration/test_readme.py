"""Every code block of the documentation is run, in its order, as a reader would."""

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from affect_contract.schemas import Prediction
from tests.conftest import ROOT

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "docs/decisions.md"]
RUN_BY_THE_SUITE_ITSELF = "make "
START_S = 60


def blocks(document: str) -> list[tuple[str, str]]:
    return [(match[1], match[2]) for match in BLOCK.finditer((ROOT / document).read_text())]


def quick(script: str, port: int) -> str:
    """The block with fewer pictures, random weights and a port of its own; every command stays what it is."""
    script = script.replace("--count 800", "--count 48").replace("127.0.0.1:8080", f"127.0.0.1:{port}")
    script = script.replace("affect-train ", "affect-train --weights none --epochs 1 --cache cache ")
    script = script.replace("curl ", "curl --fail --silent --show-error ")
    asks_the_default = re.compile(r"^(affect-predict (?!.*--models).*?)( +#.*)?$", re.MULTILINE)
    return asks_the_default.sub(rf"\1 --url http://127.0.0.1:{port}", script)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_until_ready(port: int, server: subprocess.Popen) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert server.poll() is None, "the gateway of the README ended"
        try:
            if httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError("the gateway of the README did not become ready")


def test_the_readmes_blocks_run_one_after_the_other(tmp_path):
    port = free_port()
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parent.parent)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"AFFECT_HTTP_PORT": str(port), "PATH": path}
    server = None
    ran = 0
    try:
        for language, script in blocks("README.md"):
            if language == "json":
                assert Prediction.model_validate_json(script).model.versions
            elif language == "python":
                code = script.replace(":8080", f":{port}")
                done = subprocess.run(
                    [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
                )
                assert done.returncode == 0, done.stderr
                assert len(done.stdout.split()) == 3
            elif script.startswith("affect-serve "):
                server = subprocess.Popen(["bash", "-c", f"exec {script}"], cwd=tmp_path, env=environment)
                wait_until_ready(port, server)
            elif not script.startswith(RUN_BY_THE_SUITE_ITSELF):
                words = ["bash", "-euo", "pipefail", "-c", quick(script, port)]
                done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
                assert done.returncode == 0, f"{script}\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}"
            ran += 1
    finally:
        if server is not None:
            server.terminate()
            assert server.wait(30) == 0
    assert ran == len(blocks("README.md")) >= 8
    assert (tmp_path / "scores" / "metrics.json").exists()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_make_target_and_file_that_a_document_names_exists(document):
    text = (ROOT / document).read_text()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE))
    assert named <= targets, named - targets
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (ROOT / document).parent.joinpath(link).exists(), link


def test_the_changelog_knows_this_version():
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_lock_pins_with_hashes_and_names_no_index():
    text = (ROOT / "requirements" / "dev.txt").read_text()
    assert "http" not in text.replace("httptools", "").replace("httpx", "").replace("httpcore", "")
    requirements = re.findall(r"^[a-z0-9].*?(?=^[a-z0-9]|\Z)", text, re.MULTILINE | re.DOTALL)
    assert len(requirements) > 50
    for requirement in requirements:
        assert "==" in requirement.splitlines()[0]
        assert "--hash=sha256:" in requirement
