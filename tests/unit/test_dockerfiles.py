"""The Dockerfiles name only what there is, and build what the locks say."""

import fnmatch
import re
import tomllib
from pathlib import PurePosixPath

import pytest

from affect_serving.settings import Settings
from tests.conftest import ROOT
from tests.dockerfiles import NAMES, dockerfile

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
UNPRIVILEGED = "10001:10001"


def sent_to_the_builder(path: str) -> bool:
    """Whether .dockerignore lets a path through; its last line that fits decides."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        if line and not line.startswith("#") and (fnmatch.fnmatch(path, pattern) or path.startswith(f"{pattern}/")):
            sent = line.startswith("!")
    return sent


@pytest.mark.parametrize("name", NAMES)
def test_everything_copied_is_there_and_is_sent_to_the_builder(name):
    instructions = [rest for rest in dockerfile(name).all("COPY") if not rest.startswith("--from")]
    assert instructions
    for path in (path for rest in instructions for path in rest.split()[:-1]):
        assert (ROOT / path).exists(), path
        assert sent_to_the_builder(path), path


def test_nothing_else_is_sent_to_the_builder():
    for path in (".git", ".venv", "models", "faces", "demo-out", "keys", ".env", "tests", "docs", "compose.yaml"):
        assert not sent_to_the_builder(path), path


@pytest.mark.parametrize("name", NAMES)
def test_every_stage_that_is_copied_from_or_built_on_exists(name):
    file = dockerfile(name)
    used = {re.match(r"--from=(\S+)", rest)[1] for rest in file.all("COPY") if rest.startswith("--from")}
    used |= {rest.split(" AS ")[0] for rest in file.all("FROM")} - {"${BASE_IMAGE}"}
    assert used <= set(file.stages)


@pytest.mark.parametrize("name", NAMES)
def test_an_image_starts_with_an_init_and_one_of_the_projects_commands_as_no_privileged_user(name):
    file = dockerfile(name)
    assert set(file.all("USER")) == {UNPRIVILEGED}
    for words in file.executed("ENTRYPOINT"):
        assert words[:2] == ["dumb-init", "--"]
        assert set(words[2:]) <= set(PROJECT["scripts"])
    for words in file.executed("CMD"):
        assert words[0] in PROJECT["scripts"] or words == ["--help"]


def test_the_health_check_is_a_module_of_the_gateway_and_needs_no_shell():
    (words,) = dockerfile("Dockerfile.serve").executed("HEALTHCHECK")
    assert words == ["python", "-m", "affect_serving.probe"]


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_in_an_image_is_one_of_the_gateways(name):
    given = {key for key in dockerfile(name).environment if key.startswith("AFFECT_")}
    assert {key.removeprefix("AFFECT_").lower() for key in given} <= set(Settings.model_fields)


def test_the_gateways_ports_are_those_that_it_listens_on():
    settings = Settings(models="models")
    (exposed,) = dockerfile("Dockerfile.serve").all("EXPOSE")
    assert exposed.split() == [str(settings.http_port), str(settings.grpc_port)]


def test_the_tools_image_carries_the_load_tests_and_tells_locust_where_they_are():
    file = dockerfile("Dockerfile.serve")
    locustfile = PurePosixPath(file.environment["LOCUST_LOCUSTFILE"])
    assert f"install -D -m 0444 client/load/locustfile.py {locustfile}" in "\n".join(file.all("RUN"))
    assert f"--from=project {locustfile.parent} {locustfile.parent}" in file.stage("tools").all("COPY")
    for name in ("client/load/locustfile.py", "client/affect_load/__init__.py", "client/affect_load/report.html.j2"):
        assert (ROOT / name).exists()
        assert sent_to_the_builder(name)


@pytest.mark.parametrize("name", NAMES)
def test_every_package_from_an_index_comes_with_its_hash(name):
    installs = re.findall(
        r"(?:image-packages|\binstall) .*?(?=$|&&)", "\n".join(dockerfile(name).all("RUN")), re.MULTILINE
    )
    packages = [one for one in installs if not one.startswith(("install -d", "install -D"))]
    assert packages
    assert all("--require-hashes" in one or "--no-index" in one for one in packages), packages


def test_the_training_image_has_the_tensorflow_that_is_pinned():
    tag = re.fullmatch(r"tensorflow/tensorflow:(.+)-gpu", dockerfile("Dockerfile.train").default_base)[1]
    assert f"\ntensorflow=={tag} \\\n" in (ROOT / "requirements/train.txt").read_text()
