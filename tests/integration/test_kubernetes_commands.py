"""What the manifests run, as plain processes in the order of docs/deploy.md: together a working system.

TensorFlow Serving is the one that ``TFSERVING_BIN`` names, or the one that stands in for it.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from affect_dataset.shards import INDEX_VARIABLE
from affect_load.verdict import LoadOutcome
from affect_registry import store
from affect_testbed.model_server import process
from tests.conftest import ROOT
from tests.gateway import FakeBackend, listening_gateway
from tests.manifests import Manifest, all_of, environment, pod, words, written

START_S = 180
MANIFESTS = written("base", "jobs")
LOCUST = {"LOCUST_LOCUSTFILE": str(ROOT / "client/load/locustfile.py")}
"""What the tools image sets, for the places of this machine."""


class Cluster:
    """Runs containers as processes: volumes are folders, services are ports of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {"http": process.free_port(), "grpc": process.free_port(), "tfserving": process.free_port()}
        self._places = {
            "http://gateway:8080": f"http://127.0.0.1:{self.ports['http']}",
            "tfserving:8500": f"127.0.0.1:{self.ports['tfserving']}",
            "--port=8500": f"--port={self.ports['tfserving']}",
            "--rest_api_port=8501": f"--rest_api_port={process.free_port()}",
            # So few pictures, and so bad models, say nothing: whatever they score is well.
            "< -0.02": "< -2",
        }
        self._variables = {"RUN": "1", "CPUS": "2"}
        for name in ("data", "models", "cache", "results"):
            (folder / name).mkdir()

    def job(self, name: str, *more: str) -> list[str]:
        """Run all pods of a Job, their containers one after the other; gives what each said.

        Args:
            name: of the Job.
            more: words for the last container, to make a small thing of it.
        """
        (job,) = (one for one in all_of(MANIFESTS, "Job") if one["metadata"]["name"] == name)
        said = []
        for index in range(job["spec"].get("completions", 1)):
            for container in pod(MANIFESTS, name).containers:
                is_last = container is pod(MANIFESTS, name).spec["containers"][-1]
                with self.started(container, *(more if is_last else ()), index=index) as running:
                    output, _ = running.communicate(timeout=START_S)
                assert running.returncode == 0, f"{name} {container['name']} {index}:\n{output[-3000:]}"
                said.append(output)
        return said

    @contextmanager
    def started(self, container: Manifest, *more: str, index: int = 0) -> Iterator[subprocess.Popen[str]]:
        """One container, ended at the end if it has not by then."""
        variables = {**self._variables, INDEX_VARIABLE: str(index)}
        given = {name: self._here(value) for name, value in environment(container).items()}
        command = [self._here(word) for word in words(container, variables)]
        with subprocess.Popen(
            [*self._program(command), *more],
            cwd=ROOT,
            env=os.environ | LOCUST | variables | given | self._listening(container),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as running:
            try:
                yield running
            finally:
                running.kill()

    def _listening(self, container: Manifest) -> dict[str, str]:
        if container["name"] != "gateway":
            return {}
        return {
            "AFFECT_HTTP_PORT": str(self.ports["http"]), "AFFECT_GRPC_PORT": str(self.ports["grpc"]),
            "AFFECT_DRAIN_DELAY_S": "0",
        }  # fmt: skip

    def _here(self, word: str) -> str:
        """A word with the folders and addresses of this machine."""
        for there, here in self._places.items():
            word = word.replace(there, here)
        for name in ("data", "models", "cache", "results"):
            if word.startswith(f"/{name}"):
                word = f"{self.folder}{word}"
            word = word.replace(f"=/{name}", f"={self.folder}/{name}")
        return word

    def _program(self, command: list[str]) -> list[str]:
        program, *rest = command
        if program == "tensorflow_model_server":
            return [*process.server_command(), *rest]
        if program == "python":
            return [sys.executable, *rest]
        if program == "affect-train":
            return [sys.executable, "-m", "affect_testbed.quick_training", *rest]
        return [str(Path(sys.executable).with_name(program)), *rest]

    def models(self) -> Any:
        """What the gateway says is served."""
        return httpx.get(f"http://127.0.0.1:{self.ports['http']}/models").raise_for_status().json()


def wait_until(condition: Callable[[], bool], what: str, *running: subprocess.Popen[str]) -> None:
    ends = time.monotonic() + START_S
    while time.monotonic() < ends:
        for one in running:
            assert one.poll() is None, one.communicate()[0][-3000:]
        try:
            if condition():
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"{what} took longer than {START_S} s")


def labels(cluster: Cluster) -> dict[str, int]:
    """Version by label of what the gateway serves, loaded."""
    return {
        label: version["version"]
        for model in cluster.models()["models"]
        for version in model["versions"]
        if version["state"] == "AVAILABLE"
        for label in version["labels"]
    }


def small(*more: str) -> Sequence[str]:
    return "--backbones", "mobilenet_v2", "--weights", "none", *more


@pytest.fixture
def cluster(tmp_path):
    return Cluster(tmp_path)


def test_the_commands_of_the_manifests_form_a_working_system(cluster):
    gateway, tfserving = (pod(MANIFESTS, name) for name in ("gateway", "tfserving"))
    with cluster.started(tfserving.container("models")) as waiting:
        assert waiting.stdout
        assert any("has no models.config: publish a model" in line for line in iter(waiting.stdout.readline, ""))
        cluster.job("faces", "--count", "64")
        extracted = cluster.job("features", *small())
        assert len(extracted) == 4
        trained = cluster.job("train", *small("--epochs", "1"))
        assert "mobilenet_v2 features" not in trained[0], "the features were all there"
        output, _ = waiting.communicate(timeout=START_S)
        assert waiting.returncode == 0, output
        assert "mobilenet_v2_affect" in output

    containers = tfserving.container("tfserving"), gateway.container("gateway")
    with cluster.started(containers[0]) as models, cluster.started(containers[1]) as front:
        wait_until(lambda: labels(cluster) == {"stable": 1}, "the first version", models, front)
        picture = min((cluster.folder / "data/faces/images").iterdir()).read_bytes()
        url = f"http://127.0.0.1:{cluster.ports['http']}/predict"
        assert httpx.post(url, content=picture, timeout=60).json()["model"]["versions"] == {"mobilenet_v2_affect": 1}

        cluster.job("train", *small("--epochs", "1", "--seed", "1"))
        wait_until(lambda: labels(cluster) == {"stable": 1, "canary": 2}, "the canary", models, front)
        cluster.job("evaluate-stable")
        cluster.job("evaluate-canary")
        said = cluster.job("promote")
        assert "mobilenet_v2_affect: stable 1 -> 2" in said[-1]
        wait_until(lambda: labels(cluster) == {"stable": 2}, "the promotion", models, front)
        assert httpx.post(url, content=picture, timeout=60).json()["model"]["versions"] == {"mobilenet_v2_affect": 2}

    assert store.read(cluster.folder / "models")["mobilenet_v2_affect"].labels["stable"] == 2
    whole = json.loads((cluster.folder / "results/1/stable/whole/metrics.json").read_text())
    assert whole["models"]["mobilenet_v2"]["coverage"]


def test_the_load_is_shared_by_all_its_workers_and_judged_by_its_master(cluster):
    port = str(process.free_port())
    master, worker = (pod(MANIFESTS, name).container("load") for name in ("load", "load-workers"))
    to_master = "--master-host", "127.0.0.1", "--master-port", port
    little = "--kind", "spike", "--rate", "8", "--seconds", "4", "--p95-ms", "20000", "--batch", "2"
    listening = "--master-bind-host", "127.0.0.1", "--master-bind-port", port
    with listening_gateway(FakeBackend()) as urls, ExitStack() as stack:
        workers = [stack.enter_context(cluster.started(worker, *to_master, index=index)) for index in range(4)]
        judging = stack.enter_context(
            cluster.started(master, *listening, *little, "--host", urls.http, "--grpc", urls.rpc)
        )
        said, _ = judging.communicate(timeout=START_S)
        ended = [one.communicate(timeout=START_S)[0] for one in workers]
    assert [one.returncode for one in workers] == [0] * 4, ended
    report = json.loads((cluster.folder / "results/1/load/load.json").read_text())
    # A machine full of tests may miss the pace; no request fails.
    assert judging.returncode == LoadOutcome[report["verdict"].upper()], said
    assert [stage["errors"] for stage in report["stages"]] == [0, 0, 0], said
