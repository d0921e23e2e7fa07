"""A disk that fills up while a version is published: a small file system of its own, filled to the last pages."""

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT

PAGES = 12
"""Pages that are left; from some number on there are enough."""
NOT_MOUNTED = 77


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """What became of each publish, by the number of pages that were left."""
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


def test_a_disk_without_room_is_a_sentence_and_a_disk_with_room_a_version(published):
    failures = [one["failure"] for one in published]
    assert "No space left on device" in failures[0]
    assert failures[-1] == ""
    assert failures == sorted(failures, key=lambda failure: failure == ""), "more room is never worse"


def test_what_was_served_is_served_whatever_the_room(published):
    for one in published:
        assert one["stable"] == 1
        assert one["incomplete"] == []


def test_when_there_is_room_again_the_next_publish_works(published):
    assert all(one["again"] for one in published)
