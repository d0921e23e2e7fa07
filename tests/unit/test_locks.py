"""What is installed is pinned, by hash and without an index, in one version everywhere."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement

from tests.conftest import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = {
    "dev": ["dev"], "gateway": ["serve"], "embedded": ["embedded"], "tools": ["evaluate", "load"], "train": ["train"],
}  # fmt: skip
"""The extras that each file installs; the images add the group `image`."""
LOCKS = (*EXTRAS, "wheel")


def pinned(lock: str) -> dict[str, set[str]]:
    """The versions of each package, several where they depend on Python's."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(
        r"^([a-z0-9-]+)==(\S+)", (ROOT / f"requirements/{lock}.txt").read_text(), re.MULTILINE
    ):
        found.setdefault(name, set()).add(version)
    return found


def wanted(lock: str) -> list[Requirement]:
    """What pyproject.toml asks for directly, the extras that an extra names taken in."""
    groups = PYPROJECT["dependency-groups"]
    if lock == "wheel":
        return [Requirement(text) for text in groups["wheel"]]
    texts = [*PYPROJECT["project"]["dependencies"], *(text for name in EXTRAS[lock] for text in extra(name))]
    return [Requirement(text) for text in texts + (groups["image"] if lock != "dev" else [])]


def extra(name: str) -> list[str]:
    texts = []
    for text in PYPROJECT["project"]["optional-dependencies"][name]:
        requirement = Requirement(text)
        ours = requirement.name == PYPROJECT["project"]["name"]
        texts += [one for name in requirement.extras for one in extra(name)] if ours else [text]
    return texts


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_with_hashes_and_names_no_index(lock):
    text = (ROOT / f"requirements/{lock}.txt").read_text()
    assert not re.search(r"https?:|--(extra-)?index-url|--find-links", text)
    requirements = re.findall(r"^[a-z0-9].*?(?=^[a-z0-9]|\Z)", text, re.MULTILINE | re.DOTALL)
    assert requirements
    for requirement in requirements:
        assert "==" in requirement.splitlines()[0]
        assert "--hash=sha256:" in requirement


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_holds_what_the_project_asks_for(lock):
    versions = pinned(lock)
    for requirement in wanted(lock):
        assert normal(requirement.name) in versions, f"{requirement} is not in requirements/{lock}.txt: make lock"
        assert all(map(requirement.specifier.contains, versions[normal(requirement.name)])), requirement


@pytest.mark.parametrize("lock", LOCKS[1:])
def test_what_an_image_runs_is_what_the_tests_run(lock):
    tested = pinned("dev")
    only_here = {normal(Requirement(text).name) for text in PYPROJECT["dependency-groups"]["image"]}
    for name, versions in pinned(lock).items():
        assert name in only_here or versions == tested.get(name), name


def test_no_image_that_serves_holds_tensorflow():
    for lock in ("gateway", "embedded", "tools"):
        assert not {"tensorflow", "keras", "tensorflow-serving-api"} & set(pinned(lock))
