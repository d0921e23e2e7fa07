"""Parts of a data set: each picture is in exactly one, and a pod of an Indexed Job knows which part is its own."""

import argparse
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affect_dataset.shards import INDEX_VARIABLE, WHOLE, Shard, add_shard_argument, parse_shard

COUNTS = st.integers(1, 40)


@given(st.lists(st.integers(), max_size=60), COUNTS)
def test_every_item_is_in_exactly_one_part(items, count):
    parts = [Shard(number, count).of(items) for number in range(1, count + 1)]
    assert sorted(item for part in parts for item in part) == sorted(items)


@given(st.binary(), COUNTS)
def test_every_picture_is_in_exactly_one_part_by_its_bytes_alone(data, count):
    digest = hashlib.sha256(data).hexdigest()
    assert sum(Shard(number, count).contains(digest) for number in range(1, count + 1)) == 1


def test_parts_by_bytes_are_about_equal():
    digests = [hashlib.sha256(bytes([number % 256, number // 256])).hexdigest() for number in range(5000)]
    for number in range(1, 6):
        assert 900 < sum(Shard(number, 5).contains(digest) for digest in digests) < 1100


def test_a_part_reads_as_it_is_written():
    assert parse_shard(str(Shard(3, 7))) == Shard(3, 7)


def shard(*words: str) -> Shard:
    parser = argparse.ArgumentParser()
    add_shard_argument(parser, "do this part alone")
    found: Shard = parser.parse_args(words).shard
    return found


def test_without_the_argument_the_part_is_the_whole():
    assert shard() == WHOLE


def test_the_pods_of_an_indexed_job_have_the_parts_between_them(monkeypatch):
    found = []
    for index in range(3):
        monkeypatch.setenv(INDEX_VARIABLE, str(index))
        found.append(shard("--shard", "index/3"))
    assert found == [Shard(1, 3), Shard(2, 3), Shard(3, 3)]


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2", "index", "index/x", "²/3"])
def test_what_is_no_part_is_refused_with_what_is_one(text, capsys, monkeypatch):
    monkeypatch.setenv(INDEX_VARIABLE, "0")
    with pytest.raises(SystemExit):
        shard(f"--shard={text}")
    assert "give I/N, such as 1/4 to 4/4" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("index", "sentence"),
    [
        (None, "JOB_COMPLETION_INDEX is not set: give I/3"),
        ("3", "JOB_COMPLETION_INDEX is '3', not one of 0 to 2: give the Job 3 completions"),
        ("", "JOB_COMPLETION_INDEX is ''"),
    ],
)
def test_a_pod_that_does_not_know_its_part_is_told_why(index, sentence, capsys, monkeypatch):
    monkeypatch.delenv(INDEX_VARIABLE, raising=False)
    if index is not None:
        monkeypatch.setenv(INDEX_VARIABLE, index)
    with pytest.raises(SystemExit):
        shard("--shard", "index/3")
    assert sentence in capsys.readouterr().err
