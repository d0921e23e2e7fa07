"""Recovery from faults in a model server's own files; the server is a real one where ``TFSERVING_BIN`` names it."""

import shutil
from dataclasses import replace

import pytest

from affect_registry import store
from affect_registry.model_server_settings import write_missing_files
from affect_testbed.model_server import process
from tests.conftest import once
from tests.faults.gateway_process import ANSWERED, assert_recovers, gateway_process, until
from tests.tfserving.gateways import FUSED


@pytest.fixture(scope="session")
def one_model(trained, tmp_path_factory):
    """A models directory with the fused MobileNetV2 alone."""

    def make(folder):
        shutil.copytree(trained / FUSED.name, folder / FUSED.name)
        store.write(folder, {FUSED.name: store.Entry(FUSED.name, folder / FUSED.name, (1,), {"stable": 1})})
        write_missing_files(folder)

    return once(tmp_path_factory, "one_model", make)


@pytest.fixture
def models(one_model, tmp_path):
    """A copy of that directory, which a test may change."""
    folder = tmp_path / "models"
    shutil.copytree(one_model, folder)
    (entry,) = store.read(one_model).values()
    store.write(folder, {entry.name: replace(entry, base_path=folder / entry.name)})
    return folder


@pytest.fixture
def gateway(models, tmp_path):
    """A gateway in front of a model server that serves the directory."""
    with (
        process.model_server(models, tmp_path) as (_, port),
        gateway_process("--tfserving", f"127.0.0.1:{port}") as gateway,
    ):
        until(lambda: gateway.ask() == ANSWERED)
        yield gateway


def test_a_corrupt_new_version_leaves_the_old_one_answering(models, gateway):
    before = store.read(models)
    (entry,) = before.values()
    (models / entry.name / "2").mkdir()
    (models / entry.name / "2" / "saved_model.pb").write_bytes(b"no graph" * 100)

    def fault():
        store.write(models, {entry.name: replace(entry, versions=(1, 2))})
        until(lambda: 2 in gateway.states())
        assert gateway.states()[2] != "AVAILABLE"
        assert [gateway.ask() for _ in range(20)] == [ANSWERED] * 20
        store.write(models, before)
        until(lambda: gateway.states() == {1: "AVAILABLE"})

    assert_recovers(gateway, fault)
