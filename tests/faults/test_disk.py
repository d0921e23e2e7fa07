"""A disk that fills up while a version is published, on a small file system of its own, filled to the last pages."""

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT

PAGES = 12
"""Publishes are tried with 0 to PAGES - 1 pages left; the last of these numbers are enough."""
NOT_MOUNTED = 77


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The outcome of each publish, by the number of pages that were left."""
    folder = tmp_path_factory.mktemp("disk")
    mount = f"mount -t tmpfs -o size=1m,nr_inodes=10000 tmpfs {folder} || exit {NOT_MOUNTED}"
    script = f"{mount}; exec {sys.executable} -m tests.faults.full_disk {folder} {PAGES}"
    words = ["unshare", "--mount", "--map-root-user", "sh", "-c", script]
    try:
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no unshare here to mount a small file system with")
    if done.returncode == NOT_MOUNTED or done.stderr.startswith("unshare:"):
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_publish_without_room_fails_with_a_sentence_and_one_with_room_succeeds(published):
    failures = [one["failure"] for one in published]
    assert "No space left on device" in failures[0]
    assert failures[-1] == ""
    assert failures == sorted(failures, key=lambda failure: failure == ""), "more room is never worse"


def test_what_was_served_stays_served_however_little_room_there_is(published):
    for one in published:
        assert one["stable"] == 1
        assert one["incomplete"] == []


def test_when_there_is_room_again_the_next_publish_works(published):
    assert all(one["again"] for one in published)
