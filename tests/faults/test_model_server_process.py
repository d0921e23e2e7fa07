"""What a model server's own files do to it; a real one where ``TFSERVING_BIN`` names it."""

import shutil
from dataclasses import replace

import pytest

from affect_registry import store
from affect_registry.server_files import write_missing_files
from affect_testbed.model_server import process
from tests.conftest import once
from tests.faults.world import ANSWERED, survived, until, world
from tests.tfserving.gateways import FUSED


@pytest.fixture(scope="session")
def one_model(trained, tmp_path_factory):
    """A models directory of the fused MobileNetV2 alone."""

    def make(folder):
        shutil.copytree(trained / FUSED.name, folder / FUSED.name)
        store.write(folder, {FUSED.name: store.Entry(FUSED.name, folder / FUSED.name, (1,), {"stable": 1})})
        write_missing_files(folder)

    return once(tmp_path_factory, "one_model", make)


@pytest.fixture
def models(one_model, tmp_path):
    """One that a test may change."""
    folder = tmp_path / "models"
    shutil.copytree(one_model, folder)
    (entry,) = store.read(one_model).values()
    store.write(folder, {entry.name: replace(entry, base_path=folder / entry.name)})
    return folder


@pytest.fixture
def there(models, tmp_path):
    """A gateway before a model server on them."""
    with process.model_server(models, tmp_path) as (_, port), world("--tfserving", f"127.0.0.1:{port}") as gateway:
        until(lambda: gateway.ask() == ANSWERED)
        yield gateway


def test_a_new_version_that_is_corrupt_leaves_the_old_one_answering(models, there):
    before = store.read(models)
    (entry,) = before.values()
    (models / entry.name / "2").mkdir()
    (models / entry.name / "2" / "saved_model.pb").write_bytes(b"no graph" * 100)

    def fault():
        store.write(models, {entry.name: replace(entry, versions=(1, 2))})
        until(lambda: 2 in there.states())
        assert there.states()[2] != "AVAILABLE"
        assert [there.ask() for _ in range(20)] == [ANSWERED] * 20
        store.write(models, before)
        until(lambda: there.states() == {1: "AVAILABLE"})

    survived(there, fault)
