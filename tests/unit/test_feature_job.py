"""Features extracted in parts: the same for any number of parts, whatever is killed, and found by the training."""

import keras
import numpy as np
import pytest

from affect_dataset import loading
from affect_dataset.samples import Split
from affect_dataset.shards import WHOLE, Shard
from affect_dataset.split import read_or_assign
from affect_training import preparation
from affect_training.errors import TrainingError
from affect_training.features import extraction, job
from affect_training.features.job import FeatureOrder
from affect_training.loop.batches import in_order
from affect_training.networks.weights import file_name
from affect_training.preparation import cache_of
from tests.unit.training_pictures import write_samples

PICTURES = 47
BACKBONE = "mobilenet_v2"


def small_base(*_: object, **__: object) -> keras.Model:
    images = keras.Input((224, 224, 3), dtype="uint8")
    cells = keras.layers.AveragePooling2D(28)(keras.layers.Rescaling(1 / 255)(images))
    weights = keras.initializers.RandomNormal(seed=1)
    features = keras.layers.Dense(6, kernel_initializer=weights)(keras.layers.Flatten()(cells))
    return keras.Model(images, features, name="small")


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A data set whose split leaves out a test part, with small chunks and a small base."""
    monkeypatch.setattr(preparation, "build_base", small_base)
    monkeypatch.setattr(extraction, "BATCH_SIZE", 4)
    monkeypatch.setattr(extraction, "_BATCHES_A_CHUNK", 1)
    folder = tmp_path / "data"
    rows = [
        f"{one.path.name},{int(one.expression)},{one.valence},{one.arousal}" for one in write_samples(folder, PICTURES)
    ]
    (folder / "faces.csv").write_text("\n".join(["path,expression,valence,arousal", *rows]))
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / file_name(BACKBONE)).touch()
    return folder


def extract(data, cache, shard: Shard = WHOLE) -> job.Extracted:
    order = FeatureOrder(
        data=data, cache=cache, backbones=(BACKBONE,), weights=[str(data.with_name("weights"))], shard=shard
    )
    (done,) = job.run(order, lambda line: None)
    return done


def wanted(data) -> list[str]:
    dataset = loading.load(data)
    assignment, _ = read_or_assign(dataset)
    return [one.digest for part in (Split.TRAIN, Split.VALIDATION) for one in assignment.samples(dataset, part)]


def rows(data, cache) -> np.ndarray:
    """What a training reads."""
    found = cache_of(small_base(), BACKBONE, cache).rows(wanted(data))
    return np.concatenate(list(found.batches(in_order(len(found), 16))))


def test_one_two_and_five_parts_give_the_same_features(data, tmp_path):
    together = {}
    for count in (1, 2, 5):
        done = [extract(data, tmp_path / f"{count}", Shard(number, count)) for number in range(1, count + 1)]
        assert sum(one.computed for one in done) == sum(one.pictures for one in done) == len(wanted(data))
        assert all(one.pictures for one in done)
        together[count] = rows(data, tmp_path / f"{count}")
    assert np.ptp(together[1], axis=0).min() > 0.05
    np.testing.assert_array_equal(together[2], together[1])
    np.testing.assert_array_equal(together[5], together[1])


def test_the_order_in_which_parts_are_done_makes_no_difference(data, tmp_path):
    for number in (3, 1, 2):
        extract(data, tmp_path / "backwards", Shard(number, 3))
    extract(data, tmp_path / "whole")
    np.testing.assert_array_equal(rows(data, tmp_path / "backwards"), rows(data, tmp_path / "whole"))


def test_a_part_done_twice_computes_nothing_and_changes_nothing(data, tmp_path):
    extract(data, tmp_path / "cache", Shard(1, 2))
    before = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "cache").rglob("*.npy")}
    assert extract(data, tmp_path / "cache", Shard(1, 2)).computed == 0
    assert {file.name: file.stat().st_mtime_ns for file in (tmp_path / "cache").rglob("*.npy")} == before


class Killed(BaseException):
    pass


def test_a_part_that_is_killed_and_started_again_changes_nothing(data, tmp_path, monkeypatch):
    extract(data, tmp_path / "whole")
    write = extraction.FeatureCache.add
    added = []

    def die(self, digests, array):
        if len(added) == 3:
            raise Killed
        added.append(len(digests))
        write(self, digests, array)

    monkeypatch.setattr(extraction.FeatureCache, "add", die)
    with pytest.raises(Killed):
        extract(data, tmp_path / "torn", Shard(1, 2))
    monkeypatch.undo()
    monkeypatch.setattr(preparation, "build_base", small_base)
    again = extract(data, tmp_path / "torn", Shard(1, 2))
    assert again.computed == again.pictures - 12
    extract(data, tmp_path / "torn", Shard(2, 2))
    np.testing.assert_array_equal(rows(data, tmp_path / "torn"), rows(data, tmp_path / "whole"))


def test_a_network_that_is_trained_whole_has_no_features(data, tmp_path):
    order = FeatureOrder(data=data, cache=tmp_path / "cache", backbones=("custom_cnn",))
    with pytest.raises(TrainingError, match="trained from scratch and has no features"):
        job.run(order, print)
