"""What is in k8s/: as written, as kubectl builds it, and what its containers run."""

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.conftest import ROOT
from tests.dockerfiles import dockerfile

K8S = ROOT / "k8s"
KUSTOMIZATION = "kustomization.yaml"

Manifest = dict[str, Any]

_VARIABLE = re.compile(r"\$\((\w+)\)")
_IMAGES = {
    "affect-gateway": "Dockerfile.serve", "affect-embedded": "Dockerfile.serve", "affect-tools": "Dockerfile.serve",
    "affect-train": "Dockerfile.train",
}  # fmt: skip


class Pod(NamedTuple):
    """The pods of one workload."""

    kind: str
    name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    spec: Manifest

    @property
    def containers(self) -> list[Manifest]:
        """All of them, in the order in which they start."""
        return [*self.spec.get("initContainers", ()), *self.spec["containers"]]

    def container(self, name: str) -> Manifest:
        """One of them."""
        (found,) = (one for one in self.containers if one["name"] == name)
        return found


def written(*folders: str) -> list[Manifest]:
    """The manifests in some folders of k8s/, and patches that look like such, as they are written."""
    files = (file for folder in folders for file in sorted((K8S / folder).rglob("*.yaml")))
    documents = (one for file in files if file.name != KUSTOMIZATION for one in yaml.safe_load_all(file.read_text()))
    return [one for one in documents if "kind" in one]


def kustomizations() -> list[str]:
    """The folders that can be built by themselves."""
    files = sorted(K8S.rglob(KUSTOMIZATION))
    return [
        str(file.parent.relative_to(K8S)) for file in files if yaml.safe_load(file.read_text())["kind"] != "Component"
    ]


@cache
def built(folder: Path) -> list[Manifest]:
    """What ``kubectl kustomize`` makes of a folder."""
    if not shutil.which("kubectl"):
        pytest.skip("there is no kubectl here to build manifests with")
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def combined(folder: Path, base: str, components: Sequence[str]) -> list[Manifest]:
    """What a user's overlay of a base and components is built to."""
    k8s = Path("../" * len(folder.resolve().parts[1:])) / K8S.relative_to("/")
    overlay = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [str(k8s / base)],
        "components": [str(k8s / "components" / name) for name in components],
    }
    (folder / KUSTOMIZATION).write_text(yaml.safe_dump(overlay))
    return built(folder)


def pods(manifests: Sequence[Manifest]) -> list[Pod]:
    """The pods of all workloads."""
    return [
        Pod(
            one["kind"],
            one["metadata"]["name"],
            one["spec"]["template"].get("metadata", {}).get("labels", {}),
            one["spec"]["template"].get("metadata", {}).get("annotations", {}),
            one["spec"]["template"]["spec"],
        )
        for one in manifests
        if one["kind"] in {"Deployment", "Job"}
    ]


def pod(manifests: Sequence[Manifest], name: str) -> Pod:
    """Those of one workload."""
    (found,) = (one for one in pods(manifests) if one.name == name)
    return found


def environment(container: Manifest) -> dict[str, str]:
    """The variables whose values are in the manifest."""
    return {one["name"]: one["value"] for one in container.get("env", ()) if "value" in one}


def words(container: Manifest, variables: Mapping[str, str]) -> list[str]:
    """The command line that a container of ours runs, under its init, with ``$(VARIABLES)`` filled in."""
    image = container["image"].partition(":")[0]
    command = container.get("command") or _entrypoint(image)
    return [_VARIABLE.sub(lambda match: variables[match[1]], word) for word in [*command, *container.get("args", ())]]


def _entrypoint(image: str) -> list[str]:
    init = ["dumb-init", "--"]
    found = dockerfile(_IMAGES[image]).executed("ENTRYPOINT")
    programs = {tuple(one[len(init) :]) for one in found if one[: len(init)] == init}
    wanted = {"affect-tools": (), "affect-train": ("affect-train",)}.get(image, ("affect-serve",))
    assert wanted in programs
    return list(wanted)


def all_of(manifests: Sequence[Manifest], kind: str) -> Iterator[Manifest]:
    """The manifests of a kind."""
    return (one for one in manifests if one["kind"] == kind)


def memory_bytes(quantity: str) -> int:
    """Bytes of a quantity of memory, in Mi or Gi."""
    match = re.fullmatch(r"(\d+)(Mi|Gi)", quantity)
    assert match, quantity
    return int(match[1]) * {"Mi": 2**20, "Gi": 2**30}[match[2]]
