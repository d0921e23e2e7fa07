"""The container images, built and tried for real; `make images` does the same by hand."""

import os
import subprocess
import sys

import pytest
from scripts.image_builders import find_builder

from tests.conftest import ROOT


@pytest.mark.skipif(not os.environ.get("AFFECT_IMAGES"), reason="takes minutes and gigabytes: set AFFECT_IMAGES=1")
def test_every_image_builds_is_small_and_does_what_it_is_for():
    if find_builder() is None:
        pytest.skip("neither a Docker daemon nor buildah is here")
    done = subprocess.run(
        [sys.executable, "-m", "scripts.images"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for image in ("affect-gateway", "affect-embedded", "affect-tools", "affect-train"):
        assert done.stdout.count(f"\n{image} ") == 2 + (image == "affect-embedded")
