"""Every overlay, job and documented combination of components builds, is valid, and is restricted."""

import copy
import re
from functools import cache

import kubernetes_validate
import pytest
import yaml
from kubernetes_validate.utils import all_versions

from tests.conftest import ROOT
from tests.manifests import K8S, all_of, built, combined, kustomizations, pods
from tests.pod_security import violations

VERSIONS = sorted(set(all_versions()), key=lambda version: int(version.split(".")[1]))[-3:]
OVERLAYS = ["overlays/dev", "overlays/cpu", "overlays/gpu"]
OPTIONAL = ["tls", "api-keys", "ingress"]
COMBINATIONS = [
    *((overlay, (component,)) for overlay in OVERLAYS for component in OPTIONAL),
    *((overlay, tuple(OPTIONAL)) for overlay in OVERLAYS),
    ("overlays/dev", ("monitoring",)),
    ("base", ("autoscale-in-flight", "monitoring", "images")),
    ("base", ("autoscale-in-flight", "autoscale-tfserving", "network-policy", "monitoring", *OPTIONAL, "images")),
]
"""What k8s/README.md says goes together."""

folders = pytest.mark.parametrize("folder", kustomizations())
combinations = pytest.mark.parametrize(
    ("base", "components"), COMBINATIONS, ids=lambda value: value if isinstance(value, str) else "+".join(value)
)


@cache
def checked(document: str, version: str) -> None:
    """Valid by the schema of its kind; a kind without one is an error."""
    kubernetes_validate.validate(yaml.safe_load(document), version, strict=True)


def hold(manifests):
    """What holds of everything that is deployed."""
    assert manifests
    for one in manifests:
        for version in VERSIONS:
            checked(yaml.safe_dump(one), version)
        assert one["metadata"].get("namespace", "affect") == "affect"
        assert one["kind"] != "Secret"
    for one in pods(manifests):
        assert violations(one.spec, one.annotations) == [], one.name
        assert one.spec["automountServiceAccountToken"] is False
    named = [(one["kind"], one["metadata"]["name"]) for one in manifests]
    assert len(named) == len(set(named))


@folders
def test_it_builds_is_valid_and_restricted(folder):
    hold(built(K8S / folder))


@combinations
def test_a_documented_combination_builds_is_valid_and_restricted(base, components, tmp_path):
    hold(combined(tmp_path, base, components))


def test_the_last_three_minor_versions_are_meant():
    minors = [int(version.split(".")[1]) for version in VERSIONS]
    assert minors == list(range(minors[0], minors[0] + 3))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_misspelt_field_and_an_unknown_kind_are_not_valid(version):
    (namespace,) = built(K8S / "base/namespace")
    wrong = copy.deepcopy(namespace)
    wrong["spec"] = {"finalisers": []}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, version, strict=True)
    with pytest.raises(kubernetes_validate.SchemaNotFoundError):
        kubernetes_validate.validate(namespace | {"kind": "Namespaces"}, version, strict=True)


def test_the_documented_components_are_those_there_are_and_go_with_what_is_tested():
    text = (K8S / "README.md").read_text()
    rows = re.findall(r"^\| (`[^|]+) \| [^|]+ \| ([^|]+) \|$", text.partition("| component |")[2], re.MULTILINE)
    goes_with = {name: where for names, where in rows for name in re.findall(r"`([\w-]+)`", names)}
    assert set(goes_with) == {folder.name for folder in (K8S / "components").iterdir()}
    for name, where in goes_with.items():
        for overlay in re.findall(r"(?<![\w/-])(dev|cpu|gpu|base)\b", where):
            path = overlay if overlay == "base" else f"overlays/{overlay}"
            own = yaml.safe_load((K8S / path / "kustomization.yaml").read_text()).get("components", ())
            is_in = any(one.endswith(f"/{name}") for one in own)
            assert is_in or any(base == path and name in components for base, components in COMBINATIONS), (name, path)


def test_the_readmes_own_overlay_builds():
    (example,) = re.findall(r"```yaml\n(.*?)```", (K8S / "README.md").read_text(), re.DOTALL)
    overlay = yaml.safe_load(example)
    assert [f"overlays/{one.removeprefix('../')}" for one in overlay["resources"]] == ["overlays/cpu"]
    assert {one.removeprefix("../../components/") for one in overlay["components"]} <= set(OPTIONAL)


@pytest.mark.parametrize("folder", ["overlays/cpu", "overlays/gpu"])
def test_what_is_autoscaled_has_no_number_of_replicas_of_its_own(folder):
    manifests = built(K8S / folder)
    scaled = {one["spec"]["scaleTargetRef"]["name"] for one in all_of(manifests, "HorizontalPodAutoscaler")}
    assert "gateway" in scaled
    for one in all_of(manifests, "Deployment"):
        assert ("replicas" in one["spec"]) is (one["metadata"]["name"] not in scaled)


@folders
def test_every_image_has_a_tag(folder):
    images = {one["image"] for pod in pods(built(K8S / folder)) for one in pod.containers}
    if not folder.startswith("base"):
        version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
        assert all(image.startswith("tensorflow/serving:") or image.endswith(f":{version}") for image in images)


@folders
def test_a_key_of_a_config_map_is_one_that_is_generated(folder):
    manifests = built(K8S / folder)
    data = {one["metadata"]["name"]: one["data"] for one in all_of(manifests, "ConfigMap")}
    for one in pods(manifests):
        for container in one.containers:
            for variable in container.get("env", ()):
                if reference := variable.get("valueFrom", {}).get("configMapKeyRef"):
                    assert data[reference["name"]][reference["key"]]
