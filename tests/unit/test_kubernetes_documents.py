"""docs/deploy.md and docs/scaling.md name only what is in k8s/, and give its figures."""

import re

import pytest

from affect_serving.settings import Settings
from tests.conftest import ROOT
from tests.manifests import K8S, all_of, environment, kustomizations, memory_bytes, pod, pods, written

DEPLOY = (ROOT / "docs/deploy.md").read_text()
SCALING = (ROOT / "docs/scaling.md").read_text()
COMMANDS = "\n".join(re.findall(r"```console\n(.*?)```", DEPLOY, re.DOTALL))
BASE, JOBS, COMPONENTS = written("base"), written("jobs"), written("components")
EVERYTHING = [*BASE, *JOBS, *COMPONENTS]


def test_what_is_applied_can_be_built():
    applied = re.findall(r"apply -k k8s/(\S+)", COMMANDS)
    assert len(applied) > 5
    assert set(applied) <= set(kustomizations())
    assert {f"jobs/{folder.name}" for folder in (K8S / "jobs").iterdir()} - set(applied) == {
        "jobs/run",
        "jobs/train-gpu",
    }


def test_what_is_waited_for_looked_at_and_deleted_is_there():
    kinds = {"job": "Job", "deployment": "Deployment", "service": "Service"}
    named = re.findall(r"\b(job|deployment|service)/([\w-]+)", COMMANDS)
    assert len(named) > 10
    for kind, name in named:
        assert name in {one["metadata"]["name"] for one in all_of(EVERYTHING, kinds[kind])}, name
    (deleted,) = re.findall(r"delete job ([\w -]+) --ignore", COMMANDS)
    assert set(deleted.split()) <= {one["metadata"]["name"] for one in all_of(JOBS, "Job")}
    for name, container in re.findall(r"logs (?:job|deployment)/([\w-]+) -c ([\w-]+)", COMMANDS):
        assert any(
            one.name == name and one.container(container) for one in pods(EVERYTHING) if container in str(one.spec)
        )


def test_a_job_is_waited_for_before_the_next_one_begins():
    canary = COMMANDS.partition("delete job")[2].splitlines()
    steps = [
        line.split("jobs/")[1] if " apply " in line else "wait" for line in canary if re.search(r" apply | wait ", line)
    ]
    assert steps[:6] == ["train", "wait", "evaluate", "wait", "promote", "wait"]


def test_the_secrets_are_those_that_the_manifests_name():
    created = set(re.findall(r"create secret (?:generic|tls) ([\w-]+)", COMMANDS))
    volumes = [volume for one in pods(EVERYTHING) for volume in one.spec.get("volumes", ())]
    mounted = {volume["secret"]["secretName"] for volume in volumes if "secret" in volume}
    references = {
        (reference["name"], reference["key"])
        for one in pods(EVERYTHING)
        for container in one.containers
        for variable in container.get("env", ())
        if (reference := variable.get("valueFrom", {}).get("secretKeyRef"))
    }
    assert created == mounted | {name for name, _ in references}
    assert references == {("client-key", "key")}
    assert "client-key --from-literal=key=" in COMMANDS
    (keys,) = (
        volume["secret"]["items"] for volume in volumes if volume.get("secret", {}).get("secretName") == "api-keys"
    )
    assert f"api-keys --from-file={keys[0]['key']}=keys" in COMMANDS


@pytest.mark.parametrize(
    ("row", "container"),
    [
        ("gateway", pod(BASE, "gateway").container("gateway")),
        ("embedded gateway", next(one for one in pods(COMPONENTS) if len(one.containers) == 2).container("gateway")),
        ("TensorFlow Serving", pod(BASE, "tfserving").container("tfserving")),
        ("waiting for models", pod(BASE, "tfserving").container("models")),
        ("evaluation", pod(JOBS, "evaluate-canary").container("evaluate")),
        ("load, master and each worker", pod(JOBS, "load").container("load")),
        ("load, master and each worker", pod(JOBS, "load-workers").container("load")),
        ("features, a part", pod(JOBS, "features").container("features")),
        ("training", pod(JOBS, "train").container("train")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_memory_that_is_explained_is_that_of_the_manifests(row, container):
    (amount,) = re.findall(rf"^\| {row} \| (\d+ [MG])iB", SCALING, re.MULTILINE)
    assert memory_bytes(f"{amount.replace(' ', '')}i") == memory_bytes(container["resources"]["limits"]["memory"])


def test_the_formulas_have_the_figures_of_the_manifests():
    gateways = [one for one in all_of(COMPONENTS, "HorizontalPodAutoscaler") if one["metadata"]["name"] == "gateway"]
    (most,) = {one["spec"]["maxReplicas"] for one in gateways}
    settings = Settings(models="models")
    text = " ".join(SCALING.split())
    assert f"= {most} gateways x {settings.max_in_flight} x 2 calls" in text
    assert (
        f"`max_in_flight` = {settings.max_in_flight} at a time, lets `max_queued` = {settings.max_queued} wait" in text
    )
    bodies = int(environment(pod(BASE, "gateway").container("gateway"))["AFFECT_MAX_BODY_BYTES"])
    assert f"{bodies // 2**20} MiB of bodies" in text
    cores = int(pod(BASE, "gateway").container("gateway")["resources"]["limits"]["cpu"])
    least = next(one for one in all_of(BASE, "Deployment") if one["metadata"]["name"] == "gateway")["spec"]["replicas"]
    assert f"{least * cores * 862:,}/s | {most * cores * 862:,}/s" in text
    cores = int(pod(BASE, "tfserving").container("tfserving")["resources"]["limits"]["cpu"])
    assert f"{least * cores * 72:,}/s | {most * cores * 72:,}/s" in text


def test_the_files_that_are_handed_over_are_there():
    named = set(re.findall(r"\b(?:monitoring|k8s)/[\w./-]+\.(?:json|yaml)\b", DEPLOY))
    assert {"monitoring/grafana/affect.json", "k8s/components/autoscale-in-flight/prometheus-adapter.yaml"} <= named
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_every_measured_figure_of_the_service_is_that_of_the_benchmarks():
    benchmarks = (ROOT / "docs/benchmarks.md").read_text()
    for figure in (
        "1.16",
        "1.46",
        "865",
        "685",
        "323",
        "445 MB",
        "2,679 MB",
        "87 MB",
        "13,000 requests",
        "72 directly",
    ):
        assert figure in benchmarks, figure
