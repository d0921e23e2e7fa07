"""Every code block of the documentation is run, in its order, as a reader would."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from affect_contract.proto.affect.v1 import affect_pb2
from affect_contract.schemas import Prediction
from affect_testbed.model_server.process import free_port, server_command
from affect_testbed.tiny_backbone import LAST_CONVOLUTION
from tests.conftest import ROOT, command

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
DOCUMENTS = [
    "README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "k8s/README.md",
    *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")),
]  # fmt: skip
WALKS = [
    ["README.md", "docs/evaluation.md", "docs/training.md", "docs/fine-tuning.md"],
    ["docs/tensorflow-serving.md", "docs/clients.md", "docs/operations.md"],
    ["docs/versions.md"],
]
"""Documents that a reader follows one after the other."""
RUN_BY_THE_SUITE_ITSELF = "make "
NOT_RUN = ("console", "go")
"""Languages of blocks that need what is not there: containers, grpcurl, Go."""
FOLDERS = (
    "contract", "registry", "dataset", "training", "serving", "client", "testbed", "bench", "scripts", "tests",
    "monitoring",
)  # fmt: skip
START_S = 90


def blocks(document: str) -> list[tuple[str, str]]:
    return [(match[1], match[2]) for match in BLOCK.finditer((ROOT / document).read_text())]


class Reader:
    """Does what documents say, in a folder of their own, on ports of their own and with fewer pictures."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = {default: free_port() for default in (8080, 9090, 8500, 8501)}
        self._servers: list[subprocess.Popen] = []
        self.ran = 0
        tools = folder / "bin"
        tools.mkdir()
        model_server = tools / "tensorflow_model_server"
        model_server.write_text(f'#!/bin/sh\ncd "{ROOT}" && exec {shlex.join(server_command())} "$@"\n')
        model_server.chmod(0o755)
        # What is trained need not be large; which networks there are, and every option, is as in the documents.
        training = tools / "affect-train"
        training.write_text(f'#!/bin/sh\nexec {sys.executable} -m affect_testbed.quick_training "$@"\n')
        training.chmod(0o755)
        path = f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        activate = folder / ".venv" / "bin" / "activate"
        activate.parent.mkdir(parents=True)
        activate.write_text(f"export PATH='{path}'\n")
        self._environment = os.environ | {
            "PATH": path,
            "AFFECT_HTTP_PORT": str(self._ports[8080]),
            "AFFECT_GRPC_PORT": str(self._ports[9090]),
            "AFFECT_DRAIN_DELAY_S": "0",
            "TF_CPP_MIN_LOG_LEVEL": "2",
        }

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        for server in reversed(self._servers):
            os.killpg(server.pid, signal.SIGTERM)  # with what its shell started
            server.wait(30)

    def follow(self, document: str) -> None:
        for language, script in blocks(document):
            self.ran += 1
            if language == "json":
                assert Prediction.model_validate_json(script).model.versions
            elif language == "python":
                self._run([sys.executable, "-c", self._moved(script)])
            elif script.startswith("affect-serve -"):
                self._serve(self._moved(script))
                self._wait(self._gateway_is_ready)
            elif script.startswith("eval "):
                self._serve(self._moved(script))
                self._wait(self._model_server_listens)
            elif language not in NOT_RUN and not script.startswith(RUN_BY_THE_SUITE_ITSELF):
                self._run(["bash", "-euo", "pipefail", "-c", self._quick(self._moved(script))])

    def _moved(self, script: str) -> str:
        for default, port in self._ports.items():
            script = script.replace(f":{default}", f":{port}")
        ports = f"--port {self._ports[8500]} --rest-port {self._ports[8501]}"
        return script.replace("affect-models flags", f"affect-models flags {ports}")

    def _quick(self, script: str) -> str:
        script = script.replace("--count 800", "--count 48")
        script = script.replace("block_6_expand", LAST_CONVOLUTION)
        script = script.replace("affect-train ", "affect-train --weights none --epochs 1 --cache cache ")
        script = script.replace("curl ", "curl --fail --silent --show-error ")
        asks_the_default = re.compile(r"^(affect-predict (?!.*--models).*?)( +#.*)?$", re.MULTILINE)
        return asks_the_default.sub(rf"\1 --url http://127.0.0.1:{self._ports[8080]}", script)

    def _run(self, words: list[str]) -> None:
        done = subprocess.run(
            words, cwd=self._folder, env=self._environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{words[-1]}\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}"

    def _serve(self, script: str) -> None:
        script = script if script.startswith("eval") else f"exec {script}"
        self._servers.append(
            subprocess.Popen(["bash", "-c", script], cwd=self._folder, env=self._environment, start_new_session=True)
        )

    def _wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            assert self._servers[-1].poll() is None, "a server of the document ended"
            if condition():
                return
            time.sleep(0.1)
        raise AssertionError("a server of the document did not become ready")

    def _gateway_is_ready(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self._ports[8080]}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def _model_server_listens(self) -> bool:
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", self._ports[8500])) == 0


@pytest.mark.parametrize("documents", WALKS, ids=lambda documents: documents[0])
def test_the_blocks_of_the_documents_run_one_after_the_other(tmp_path, documents):
    with Reader(tmp_path) as reader:
        for document in documents:
            reader.follow(document)
    assert reader.ran == sum(len(blocks(document)) for document in documents) >= 6
    assert "README.md" not in documents or (tmp_path / "scores" / "metrics.json").exists()


def test_every_name_of_the_blocks_that_are_not_run_exists():
    text = "".join(script for document in DOCUMENTS for language, script in blocks(document) if language in NOT_RUN)
    for name in re.findall(r"affectpb\.(\w+?)(?:[({])", text):
        message = name.removeprefix("New").removesuffix("Client") if name.endswith("Client") else name
        assert (
            message in affect_pb2.DESCRIPTOR.services_by_name or message in affect_pb2.DESCRIPTOR.message_types_by_name
        )
    answer = affect_pb2.DESCRIPTOR.message_types_by_name["PredictResponse"].fields_by_name
    assert {name.lower() for name in re.findall(r"answer\.Get(\w+)\(", text)} <= set(answer)
    assert {
        path for path in re.findall(r"\baffect_contract/[\w/]+\.proto", text) if not (ROOT / "contract" / path).exists()
    } == set()
    assert "affect.v1.AffectService/Predict" in text
    usage = command("affect-models", "flags", "--help").stdout
    named = {
        flag for line in re.findall(r"affect-models flags (.*)\)", text) for flag in re.findall(r"--[a-z-]+", line)
    }
    assert named
    assert all(flag in usage for flag in named)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_make_target_file_and_heading_that_a_document_names_exists(document):
    text = (ROOT / document).read_text()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    scripts = "\n".join(script for _, script in blocks(document))
    named = {*re.findall(r"`make ([a-z-]+)", text), *re.findall(r"^make ([a-z-]+)", scripts, re.MULTILINE)}
    assert named <= targets, named - targets
    for link, heading in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", text):
        place = (ROOT / document).parent.joinpath(link) if link else ROOT / document
        assert place.exists(), link
        assert not heading or heading in anchors(place), f"{link}#{heading}"
    for path in re.findall(rf"(?<![\w/-])((?:{'|'.join(FOLDERS)})/[\w/.-]+\.\w+)", text):
        assert (ROOT / path).exists(), path


def anchors(page: Path) -> set[str]:
    """The names by which links find a page's headings."""
    headings = re.findall(r"^#+ (.*)$", BLOCK.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_path_on_the_map_of_the_code_exists():
    text = BLOCK.sub("", (ROOT / "docs" / "architecture.md").read_text())
    named = {name for name in re.findall(r"`([\w.-]+(?:/[\w.-]+)*)`", text) if "/" in name or name.endswith(".py")}
    relative_to = (ROOT, ROOT / "serving" / "affect_serving", ROOT / "training" / "affect_training")
    assert len(named) > 100
    missing = {name for name in named if not any((place / name).exists() for place in relative_to)}
    assert missing == {"assets.extra/affect.json"}


def test_a_newcomer_reads_the_readme_on_a_few_screens():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 150
    assert max(map(len, lines)) <= 120


def test_the_index_of_the_documentation_lists_every_page():
    links = set(re.findall(r"\]\((.+?\.md)\)", (ROOT / "docs" / "README.md").read_text()))
    assert {page.name for page in (ROOT / "docs").glob("*.md")} - links == {"README.md"}


def test_the_changelog_knows_this_version():
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text()
