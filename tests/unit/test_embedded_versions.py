"""The embedded backend follows `models.config`: new versions are loaded beside old ones, and no request fails."""

import asyncio
import gc
import logging
import shutil
import weakref
from contextlib import asynccontextmanager
from pathlib import PurePosixPath

import numpy as np
import pytest

from affect_contract.models import MODELS
from affect_contract.versions import AVAILABLE, CANARY, END, STABLE
from affect_registry import store
from affect_registry.store import Entry
from affect_serving.backends.embedded.backend import EmbeddedBackend
from affect_serving.core.backend import Selector
from affect_testbed.small_models import PAIR
from tests.tfserving.gateways import becomes

NAME = PAIR[0]
MODEL = MODELS[NAME]
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 224, 224, 3), dtype=np.uint8)


@pytest.fixture
def root(tmp_path, small_models):
    """A models directory with three versions on disk, the first of them served."""
    for number in (1, 2, 3):
        shutil.copytree(small_models / str(number) / NAME, tmp_path / NAME / str(number))
    serve(tmp_path, 1, stable=1)
    return tmp_path


def serve(root, *versions, **labels):
    store.write(root, {NAME: Entry(NAME, PurePosixPath(root / NAME), versions, labels)})


@asynccontextmanager
async def backend_of(root):
    backend = EmbeddedBackend(root, cpus=1, poll_every_s=0.02)
    await backend.start()
    try:
        yield backend
    finally:
        await backend.close()


async def asked(backend, **selector):
    return await backend.run(MODEL, Selector(**selector), IMAGES, timeout_s=10)


async def listed(backend):
    return {one.number: one for one in (await backend.catalog())[MODEL]}


async def serves(backend, number):
    async def is_there():
        return (await asked(backend)).version == number

    await becomes(is_there)


def broken(directory):
    (directory / store.SAVED_MODEL_FILE).write_bytes(b"torn")


def half_copied(directory):
    file = directory / store.SAVED_MODEL_FILE
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty(directory):
    (directory / store.SAVED_MODEL_FILE).write_bytes(b"")


def not_there(directory):
    shutil.rmtree(directory)


def of_another_task(directory):
    shutil.rmtree(directory)
    shutil.copytree(directory.parents[1] / "other", directory)


@pytest.fixture
def spoilt(root, small_models, request):
    """The directory with a second version that cannot be served."""
    shutil.copytree(small_models / "1" / PAIR[1], root / "other")
    request.param(root / NAME / "2")
    return root


async def test_a_new_version_is_loaded_beside_the_old_and_the_label_takes_requests_over(root):
    async with backend_of(root) as backend:
        first = await asked(backend)
        serve(root, 1, 2, stable=1, canary=2)

        async def canary_is_there():
            return CANARY in listed_labels(await listed(backend))

        await becomes(canary_is_there)
        assert (await asked(backend)).version == first.version == 1
        second = await asked(backend, label=CANARY)
        assert second.version == 2
        assert np.abs(second.outputs["probabilities"] - first.outputs["probabilities"]).max() > 1e-3
        serve(root, 1, 2, stable=2)
        await serves(backend, 2)
        np.testing.assert_array_equal((await asked(backend)).outputs["probabilities"], second.outputs["probabilities"])


def listed_labels(versions):
    return {label for one in versions.values() for label in one.labels}


async def test_no_request_fails_while_versions_change_and_each_gets_the_numbers_of_its_version(root):
    async with backend_of(root) as backend:
        answers, ended = [], asyncio.Event()

        async def load():
            while not ended.is_set():
                answers.append(await asked(backend))

        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(load())
            for number in (2, 3, 1, 2):
                serve(root, number, stable=number)
                await serves(backend, number)
            ended.set()
    by_version = {}
    for answer in answers:
        values = by_version.setdefault(answer.version, answer.outputs["probabilities"])
        np.testing.assert_allclose(answer.outputs["probabilities"], values, atol=1e-6)
    assert set(by_version) == {1, 2, 3}


async def test_the_memory_of_an_old_version_is_freed_after_its_last_request(root):
    async with backend_of(root) as backend:
        await asked(backend)
        (old,) = map(weakref.ref, backend._served.loaded.values())
        gc.disable()  # the memory must be freed without the help of a garbage collection
        try:
            serve(root, 2, stable=2)
            await serves(backend, 2)

            async def is_free():
                return old() is None

            await becomes(is_free)
        finally:
            gc.enable()


@pytest.mark.parametrize("spoilt", [broken, half_copied, empty, not_there, of_another_task], indirect=True)
async def test_a_version_that_cannot_be_served_is_reported_and_the_old_one_keeps_serving(spoilt, caplog):
    async with backend_of(spoilt) as backend:
        serve(spoilt, 2, stable=2)

        async def has_failed():
            return 2 in (versions := await listed(backend)) and versions[2].state == END

        await becomes(has_failed)
        versions = await listed(backend)
        assert (versions[1].state, versions[1].labels) == (AVAILABLE, (STABLE,))
        assert f"cannot load {NAME} version 2" in versions[2].problem
        assert (await asked(backend)).version == 1
        await asyncio.sleep(0.2)
        assert caplog.text.count(f"cannot load {NAME} version 2") == 1, "the log has it once, not at every poll"


async def test_a_version_that_is_repaired_in_place_is_loaded(root, small_models):
    half_copied(root / NAME / "2")
    async with backend_of(root) as backend:
        serve(root, 1, 2, stable=2)

        async def has_failed():
            return 2 in (versions := await listed(backend)) and versions[2].state == END

        await becomes(has_failed)
        shutil.copy(small_models / "2" / NAME / store.SAVED_MODEL_FILE, root / NAME / "2")
        await serves(backend, 2)


def nonsense(root):
    (root / store.CONFIG_FILE).write_text("nonsense")


def a_label_on_nothing(root):
    config = root / store.CONFIG_FILE
    config.write_text(config.read_text().replace("value: 1", "value: 9"))


def none_of_our_models(root):
    store.write(root, {"other": Entry("other", PurePosixPath("/models/other"), (1,), {STABLE: 1})})


def no_directory(root):
    root.rename(root.with_name("moved"))


@pytest.mark.parametrize("spoil", [nonsense, a_label_on_nothing, none_of_our_models, no_directory])
async def test_a_config_that_cannot_be_followed_is_reported_and_changes_nothing(root, caplog, spoil):
    caplog.set_level(logging.ERROR)
    async with backend_of(root) as backend:
        spoil(root)

        async def is_reported():
            return bool(backend.problem())

        await becomes(is_reported)
        assert str(root) in backend.problem()
        assert (await asked(backend)).version == 1
        await asyncio.sleep(0.2)
        assert len(caplog.records) == 1, "the log has it once, not at every poll"
        if not root.exists():
            root.with_name("moved").rename(root)
        serve(root, 2, stable=2)
        await serves(backend, 2)
        assert backend.problem() == ""


async def test_without_a_config_the_directory_itself_is_followed(root, small_models):
    (root / store.CONFIG_FILE).unlink()
    shutil.rmtree(root / NAME / "3")
    async with backend_of(root) as backend:
        assert (await asked(backend)).version == 2
        shutil.copytree(small_models / "3" / NAME, root / "copied")
        (root / "copied").rename(root / NAME / "3")
        await serves(backend, 3)


async def test_a_new_backbone_that_does_not_load_is_reported_and_the_others_keep_serving(root):
    other = "mobilenet_v2_affect"
    broken_version = root / other / "1"
    broken_version.mkdir(parents=True)
    (broken_version / store.SAVED_MODEL_FILE).write_bytes(b"torn")
    async with backend_of(root) as backend:
        store.write(root, store.read(root) | {other: Entry(other, PurePosixPath(root / other), (1,), {STABLE: 1})})

        async def is_reported():
            return f"cannot load {other} version 1" in backend.problem()

        await becomes(is_reported)
        assert list(await backend.catalog()) == [MODEL]
        assert (await asked(backend)).version == 1
