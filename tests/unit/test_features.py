"""Cached features: computed once, whatever interrupts, and always those of the picture asked for."""

import numpy as np
import pytest

from affect_training.features import extraction
from affect_training.features.cache import FeatureCache
from affect_training.features.extraction import extract
from affect_training.loop.batches import Pictures, in_order
from affect_training.loop.validation import predict
from affect_training.networks.backbones import build_base
from tests.unit.training_pictures import write_samples

DIGESTS = [f"{number:064x}" for number in range(5)]
ROWS = np.arange(10, dtype=np.float32).reshape(5, 2)


@pytest.fixture
def cache(tmp_path):
    return FeatureCache(tmp_path, "custom_cnn", "d" * 64)


@pytest.fixture(scope="module")
def base():
    return build_base("custom_cnn")


def read(cache, digests):
    """The features of some pictures, in batches of two."""
    rows = cache.rows(digests)
    return np.concatenate(list(rows.batches(in_order(len(rows), 2))))


def test_rows_come_back_in_the_order_asked_for_across_chunks(cache):
    cache.add(DIGESTS[:3], ROWS[:3])
    cache.add(DIGESTS[3:], ROWS[3:])
    order = [4, 0, 3, 3, 1]
    np.testing.assert_array_equal(read(cache, [DIGESTS[i] for i in order]), ROWS[order])


def test_a_new_process_finds_what_an_earlier_one_kept(cache, tmp_path):
    cache.add(DIGESTS[:3], ROWS[:3])
    again = FeatureCache(tmp_path, "custom_cnn", "d" * 64)
    assert again.missing(DIGESTS) == [3, 4]
    np.testing.assert_array_equal(read(again, DIGESTS[:3]), ROWS[:3])


def test_other_weights_have_other_features(cache, tmp_path):
    cache.add(DIGESTS, ROWS)
    assert FeatureCache(tmp_path, "custom_cnn", "e" * 64).missing(DIGESTS) == [0, 1, 2, 3, 4]


def test_a_chunk_without_its_keys_does_not_count(cache, tmp_path):
    cache.add(DIGESTS, ROWS)
    for keys in tmp_path.rglob("*.keys.npy"):
        keys.unlink()
    assert FeatureCache(tmp_path, "custom_cnn", "d" * 64).missing(DIGESTS) == [0, 1, 2, 3, 4]


def test_identical_pictures_are_missing_only_once(cache):
    assert cache.missing([DIGESTS[0], DIGESTS[1], DIGESTS[0]]) == [0, 1]


def test_extraction_runs_the_base_over_each_picture_once(cache, base, tmp_path):
    samples = write_samples(tmp_path / "pictures", 5)
    assert extract(base, [*samples, samples[0]], cache) == 5
    assert extract(base, samples, cache) == 0
    expected = predict(base, Pictures([sample.path for sample in samples]))
    np.testing.assert_allclose(read(cache, [sample.digest for sample in samples]), expected, atol=1e-5)


def test_an_interrupted_extraction_keeps_its_finished_chunks(cache, base, tmp_path, monkeypatch):
    samples = write_samples(tmp_path / "pictures", 12)
    monkeypatch.setattr(extraction, "BATCH_SIZE", 4)
    monkeypatch.setattr(extraction, "_BATCHES_A_CHUNK", 1)
    samples[9].path.write_bytes(b"gone bad")
    with pytest.raises(Exception, match="no JPEG, PNG or WebP"):
        extract(base, samples, cache)
    kept = 12 - len(cache.missing([sample.digest for sample in samples]))
    assert kept == 8
    repaired = write_samples(tmp_path / "pictures", 12)
    assert extract(base, repaired, cache) == 4
