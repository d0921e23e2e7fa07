"""The container images, built and tried for real; `make images` does the same by hand."""

import os
import subprocess
import sys

import pytest
from scripts import images
from scripts.image_builders import find_builder

from tests.conftest import ROOT
from tests.dockerfiles import NAMES, dockerfile


@pytest.mark.skipif(not os.environ.get("AFFECT_IMAGES"), reason="takes minutes and gigabytes: set AFFECT_IMAGES=1")
def test_every_image_builds_is_small_and_does_what_it_is_for():
    if find_builder() is None:
        pytest.skip("neither a Docker daemon nor buildah is here")
    done = subprocess.run(
        [sys.executable, "-m", "scripts.images"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for image in ("affect-gateway", "affect-embedded", "affect-tools", "affect-train"):
        assert done.stdout.count(f"\n{image} ") == 2 + (image in {"affect-embedded", "affect-tools"})


def test_where_nothing_can_build_it_says_what_would(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["images"])
    monkeypatch.setattr(images, "find_builder", lambda: None)
    assert images.main() == 0
    assert capsys.readouterr().out == (
        "images: skipped: neither a Docker daemon nor buildah is here (apt-get install buildah debootstrap)\n"
    )


def test_the_bases_that_sizes_are_held_against_are_the_dockerfiles_own():
    assert images.default_base("Dockerfile.serve") == dockerfile("Dockerfile.serve").default_base
    assert {image.dockerfile for image in images.IMAGES} == set(NAMES)
    assert all(image.target in dockerfile(image.dockerfile).stages for image in images.IMAGES)
