"""The load test itself, as a process, on a gateway that does as it is told."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from affect_contract.errors import BackendError
from affect_load.verdict import LoadOutcome
from affect_testbed.model_server.process import free_port
from affect_testbed.pictures import encoded, patches
from tests.certificates import self_signed
from tests.conftest import ROOT
from tests.gateway import FakeBackend, listening_gateway

PATIENCE_S = 120
SHORT = ("--kind", "spike", "--rate", "4", "--seconds", "4", "--p95-ms", "20000", "--batch", "2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures that are quickly read."""
    made = tmp_path_factory.mktemp("pictures")
    for seed in range(3):
        (made / f"{seed}.jpg").write_bytes(encoded(patches(64, 48, seed=seed)))
    return made


@contextmanager
def locust(*options, **environment):
    words = [sys.executable, "-m", "locust", "-f", "client/load/locustfile.py", "--headless", "--only-summary"]
    process = subprocess.Popen(
        [*words, *map(str, options)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=os.environ | environment,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def ended(process):
    said, _ = process.communicate(timeout=PATIENCE_S)
    return process.returncode, said


def document(out):
    return json.loads((out / "load.json").read_text())


def judged(status, out):
    """No request failed, and the status is that of the report; a machine full of tests may stall, and miss its pace."""
    found = document(out)
    assert status == LoadOutcome[found["verdict"].upper()], found["reasons"]
    assert [stage["errors"] for stage in found["stages"]] == [0, 0, 0]
    assert not any("failed" in reason for reason in found["reasons"]), found["reasons"]


def names(out):
    return {one["name"] for one in document(out)["requests"] if one["answered"]}


EVERY_SORT = {"raw", "form", "JSON", "batch", "Predict", "PredictStream"}


def test_every_sort_of_request_is_answered_and_the_load_passes(tmp_path, folder):
    with listening_gateway(FakeBackend()) as urls:
        rate = ("--rate", "16")
        with locust(
            *SHORT, *rate, "--pictures", folder, "--host", urls.http, "--grpc", urls.rpc, "--out", tmp_path
        ) as run:
            status, said = ended(run)
    judged(status, tmp_path)
    assert f"{document(tmp_path)['verdict'].upper()}: " in said
    assert names(tmp_path) == EVERY_SORT
    assert (tmp_path / "load.html").exists()


def test_two_workers_share_the_load_and_are_judged_together(tmp_path, folder):
    port = str(free_port())
    with listening_gateway(FakeBackend()) as urls:
        common = (*SHORT, "--pictures", folder, "--grpc", urls.rpc)
        master = (
            *common,
            "--master",
            "--expect-workers",
            2,
            "--master-bind-host",
            "127.0.0.1",
            "--master-bind-port",
            port,
        )
        with (
            locust(*master, "--host", urls.http, "--out", tmp_path) as run,
            locust("--worker", "--master-port", port) as one,
            locust("--worker", "--master-port", port) as other,
        ):
            status, said = ended(run)
            assert [ended(worker)[0] for worker in (one, other)] == [0, 0]
    judged(status, tmp_path)
    assert "2 total users" in said
    assert all(stage["generator_cpu_share"] > 0 for stage in document(tmp_path)["stages"])


def test_a_gateway_that_fails_fails_the_load(tmp_path, folder):
    backend = FakeBackend()
    backend.failure = BackendError("on purpose")
    with (
        listening_gateway(backend) as urls,
        locust(*SHORT, "--pictures", folder, "--host", urls.http, "--grpc", urls.rpc, "--out", tmp_path) as run,
    ):
        status, said = ended(run)
    assert status == 1, said
    assert "requests failed, most often" in said


def test_who_is_too_many_is_refused_and_that_is_no_error(tmp_path, folder):
    backend = FakeBackend()
    backend.delay_s = 0.5
    with (
        listening_gateway(backend, max_in_flight=1, max_queued=0) as urls,
        locust(
            *SHORT, "--rate", 16, "--pictures", folder, "--host", urls.http, "--grpc", urls.rpc, "--out", tmp_path
        ) as run,
    ):
        status, said = ended(run)
    assert status == 1, said
    assert "requests were refused as too many (429)" in said
    assert sum(stage["refused"] for stage in document(tmp_path)["stages"]) > 0
    assert sum(stage["errors"] for stage in document(tmp_path)["stages"]) == 0, said


def test_a_gateway_with_keys_and_tls_is_asked_and_watched_too(tmp_path, folder):
    certificate = self_signed(tmp_path)
    keys = tmp_path / "keys"
    keys.write_text(f"alice:{hashlib.sha256(b'affect_key').hexdigest()}\n")
    tls = {"tls_cert": certificate.cert, "tls_key": certificate.key}
    with listening_gateway(FakeBackend(), api_keys_file=keys, **tls) as urls:
        where = ("--host", urls.http, "--grpc", urls.rpc, "--ca", certificate.cert, "--out", tmp_path)
        with locust(*SHORT, "--rate", 16, "--pictures", folder, *where, AFFECT_API_KEY="affect_key") as run:
            status, _ = ended(run)
    judged(status, tmp_path)
    assert names(tmp_path) == EVERY_SORT
    assert all(stage["resident_mb"] > 0 for stage in document(tmp_path)["stages"])


def test_what_no_user_could_ask_with_is_said_at_once(tmp_path):
    with locust(*SHORT, "--pictures", tmp_path, "--out", tmp_path) as run:
        status, said = ended(run)
    assert status == 1
    assert f"load: {tmp_path} holds no picture" in said


def test_the_command_loads_a_gateway_that_runs_already(tmp_path, folder):
    with listening_gateway(FakeBackend()) as urls:
        words = [
            sys.executable,
            "-m",
            "scripts.load",
            "--url",
            urls.http,
            "--grpc",
            urls.rpc,
            "--out",
            tmp_path,
            *SHORT,
        ]
        done = subprocess.run([*words, "--pictures", folder], cwd=ROOT, capture_output=True, text=True, check=False)
    judged(done.returncode, tmp_path)
    assert document(tmp_path)["kind"] == "spike"
    assert [stage["offered_per_s"] for stage in document(tmp_path)["stages"]] == [4, 16, 4]


def test_the_command_without_models_says_where_they_come_from(tmp_path):
    words = [sys.executable, "-m", "scripts.load", "--models", tmp_path]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "make demo" in done.stderr
