"""The manifests name only what there is in the code: settings, flags, ports, paths, files, images, metrics."""

import argparse
import re
from pathlib import Path, PurePosixPath

import pytest
import yaml

from affect_client.credentials import KEY_VARIABLE
from affect_contract.comparison import parse_condition
from affect_contract.outputs import Task
from affect_contract.versions import CANARY, STABLE
from affect_dataset.faces import __main__ as faces_command
from affect_dataset.shards import INDEX_VARIABLE
from affect_evaluation import __main__ as evaluation
from affect_models import __main__ as models_command
from affect_registry import model_server_settings
from affect_serving.__main__ import read_settings
from affect_serving.settings import Settings
from affect_serving.telemetry.metrics import Metrics
from affect_training import __main__ as training
from affect_training.features import command as features_command
from tests.conftest import ROOT
from tests.dockerfiles import dockerfile
from tests.locust_options import locust_options
from tests.manifests import K8S, all_of, environment, memory_bytes, pod, pods, words, written

BASE = written("base")
JOBS = written("jobs")
COMPONENTS = written("components")
EVERYTHING = [*BASE, *JOBS, *COMPONENTS]
GATEWAY, TFSERVING = pod(BASE, "gateway"), pod(BASE, "tfserving")
DEFAULTS = Settings(models="models")

VARIABLES = {INDEX_VARIABLE: "0", "RUN": "1", "CPUS": "2"}
CONTAINERS = [
    pytest.param(one, container, id=f"{one.name}-{container['name']}")
    for one in pods([*BASE, *JOBS])
    for container in one.containers
]
each_container = pytest.mark.parametrize(("one", "container"), CONTAINERS)


@pytest.fixture(autouse=True)
def first_of_its_job(monkeypatch):
    monkeypatch.setenv(INDEX_VARIABLE, VARIABLES[INDEX_VARIABLE])


def parsed(command: list[str]) -> argparse.Namespace | Settings:
    """What the real parser of a command makes of its words; it exits where it knows a word or a value not."""
    program, rest = command[0], command[1:]
    if program == "affect-serve":
        return read_settings(rest)
    if program == "affect-train":
        is_features = rest[0] == "features"
        return (features_command.parser() if is_features else training._parser()).parse_args(rest[is_features:])
    if program == "affect-evaluate":
        is_named = rest[0] in evaluation._COMMANDS
        parser, _ = evaluation._COMMANDS[rest[0]]() if is_named else evaluation._inference_parser()
        return parser.parse_args(rest[is_named:])
    if program == "affect-models":
        return models_command._parser().parse_args(rest)
    if program == "locust":
        return locust_options(rest)
    assert command[:3] == ["python", "-m", "affect_dataset.faces"], command
    return faces_command._parser().parse_args(command[3:])


@each_container
def test_every_command_is_one_of_ours_with_flags_that_it_takes(one, container, monkeypatch):
    if container["name"] == "tfserving":
        return
    for name, value in environment(container).items():
        monkeypatch.setenv(name, value)
    assert parsed(words(container, VARIABLES))


@each_container
def test_every_folder_that_a_command_names_is_mounted_there(one, container):
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    named = re.findall(r"(?<![\w:/$)])/[a-z][\w/-]*", " ".join(container.get("args", ())))
    for path in named:
        assert path == "/monitoring/prometheus/metrics" or any(
            PurePosixPath(path).is_relative_to(mount) for mount in mounts
        ), path
    volumes = {volume["name"] for volume in one.spec["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} <= volumes


def test_every_volume_is_a_claim_that_there_is():
    claims = {one["metadata"]["name"] for one in all_of(EVERYTHING, "PersistentVolumeClaim")}
    for one in pods(EVERYTHING):
        for volume in one.spec.get("volumes", ()):
            if claim := volume.get("persistentVolumeClaim"):
                assert claim["claimName"] in claims


def test_only_training_and_promotions_can_write_models():
    writers = {
        one.name
        for one in pods(EVERYTHING)
        for container in one.containers
        for mount in container.get("volumeMounts", ())
        if mount["mountPath"] == "/models" and not mount.get("readOnly")
    }
    assert writers == {"train", "promote", "rollback"}


def test_every_setting_is_one_of_the_gateways_and_would_be_taken(monkeypatch):
    seen = set()
    for one in pods(EVERYTHING):
        for container in one.containers:
            for variable in container.get("env", ()):
                name = variable["name"]
                if name.startswith("AFFECT_") and name != KEY_VARIABLE:
                    assert container["name"] == "gateway"
                    assert name.removeprefix("AFFECT_").lower() in Settings.model_fields, name
                    seen.add(name)
    assert {"AFFECT_TFSERVING", "AFFECT_MODELS", "AFFECT_API_KEYS_FILE", "AFFECT_TLS_CERT", "AFFECT_TLS_KEY"} <= seen
    for name, value in environment(GATEWAY.container("gateway")).items():
        monkeypatch.setenv(name, value)
    host, port = Settings().tfserving.split(":")
    (service,) = (one for one in all_of(BASE, "Service") if one["metadata"]["name"] == host)
    assert int(port) in {one["port"] for one in service["spec"]["ports"]}


def test_the_model_servers_flags_are_those_that_affect_models_prints():
    in_flight = max_gateways() * DEFAULTS.max_in_flight * len(Task)
    expected = model_server_settings.flags(PurePosixPath("/models"), in_flight=in_flight)
    threads = ["--tensorflow_intra_op_parallelism=$(CPUS)", "--tensorflow_inter_op_parallelism=$(CPUS)"]
    container = TFSERVING.container("tfserving")
    assert container["args"] == [*(f"--{name}={value}" for name, value in expected.items()), *threads]
    (cpus,) = (one for one in container["env"] if one["name"] == "CPUS")
    assert cpus["valueFrom"] == {"resourceFieldRef": {"resource": "limits.cpu"}}


def max_gateways() -> int:
    """As many as any autoscaler may start."""
    scalers = all_of(COMPONENTS, "HorizontalPodAutoscaler")
    return max(int(one["spec"]["maxReplicas"]) for one in scalers if one["spec"]["scaleTargetRef"]["name"] == "gateway")


def test_each_autoscaler_scales_a_deployment_that_there_is_to_at_least_what_the_base_has():
    deployments = {one["metadata"]["name"]: one["spec"]["replicas"] for one in all_of(BASE, "Deployment")}
    for one in all_of(COMPONENTS, "HorizontalPodAutoscaler"):
        assert one["spec"]["minReplicas"] == deployments[one["spec"]["scaleTargetRef"]["name"]]


def test_the_ports_are_those_that_are_listened_on():
    ports = {one["name"]: one["containerPort"] for one in GATEWAY.container("gateway")["ports"]}
    assert ports == {"http": DEFAULTS.http_port, "grpc": DEFAULTS.grpc_port}
    ports = {one["name"]: one["containerPort"] for one in TFSERVING.container("tfserving")["ports"]}
    assert ports == {"grpc": model_server_settings.GRPC_PORT, "rest": model_server_settings.REST_PORT}


@pytest.mark.parametrize("target", [GATEWAY, TFSERVING], ids=lambda one: one.name)
def test_services_budgets_and_policies_mean_pods_and_ports_that_there_are(target):
    ports = {one["name"]: one["containerPort"] for one in target.container(target.name)["ports"]}
    (service,) = (one for one in all_of(BASE, "Service") if one["metadata"]["name"] == target.name)
    assert service["spec"]["selector"].items() <= target.labels.items()
    assert {one["targetPort"]: one["port"] for one in service["spec"]["ports"]} == ports
    (budget,) = (one for one in all_of(BASE, "PodDisruptionBudget") if one["metadata"]["name"] == target.name)
    assert budget["spec"]["selector"]["matchLabels"].items() <= target.labels.items()
    for spread in target.spec["topologySpreadConstraints"]:
        assert spread["labelSelector"]["matchLabels"].items() <= target.labels.items()
    (policy,) = (one for one in all_of(COMPONENTS, "NetworkPolicy") if one["metadata"]["name"] == target.name)
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= target.labels.items()
    assert {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]} <= set(ports)


def test_the_model_server_is_reached_by_the_gateway_and_by_promotions_alone():
    (policy,) = (one for one in all_of(COMPONENTS, "NetworkPolicy") if one["metadata"]["name"] == "tfserving")
    grpc, metrics = policy["spec"]["ingress"]
    assert [one["port"] for one in grpc["ports"]] == ["grpc"]
    reached_by = {
        one.name
        for source in grpc["from"]
        for one in pods([*BASE, *JOBS])
        if source["podSelector"]["matchLabels"].items() <= one.labels.items()
    }
    assert reached_by == {"gateway", "promote", "rollback"}
    assert [one["port"] for one in metrics["ports"]] == ["rest"]
    assert policy["spec"]["egress"] == []


def test_probes_ask_for_paths_and_services_that_there_are():
    source = (ROOT / "serving/affect_serving/http/service.py").read_text()
    for name, probe in GATEWAY.container("gateway").items():
        if name.endswith("Probe"):
            assert f'"{probe["httpGet"]["path"]}"' in source
            assert probe["httpGet"]["port"] == "http"
    assert GATEWAY.container("gateway")["readinessProbe"]["httpGet"]["path"] == "/readyz"
    container = TFSERVING.container("tfserving")
    assert "--enable_grpc_healthcheck_service=true" in container["args"]
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[name]["grpc"] == {"port": model_server_settings.GRPC_PORT, "service": "PredictionService"}


def test_the_time_to_start_covers_every_attempt_to_load_the_models():
    probe = TFSERVING.container("tfserving")["startupProbe"]
    attempts, apart_s, load_s = 5, 60, 60
    assert probe["periodSeconds"] * probe["failureThreshold"] >= attempts * apart_s + load_s


def test_a_gateway_has_the_time_that_its_draining_takes():
    assert GATEWAY.spec["terminationGracePeriodSeconds"] >= DEFAULTS.drain_delay_s + DEFAULTS.drain_grace_s + 2


def test_a_model_server_ends_when_nobody_can_be_talking_to_it_any_more():
    ages = re.findall(
        r"age(?:_grace)?_ms=(\d+)",
        model_server_settings.flags(PurePosixPath("/"), in_flight=1)["grpc_channel_arguments"],
    )
    dns_s, connection_s = 30, sum(map(int, ages)) / 1000
    stopping = TFSERVING.container("tfserving")["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert len(ages) == 2
    assert stopping > dns_s + connection_s
    assert TFSERVING.spec["terminationGracePeriodSeconds"] > stopping
    assert TFSERVING.spec["shareProcessNamespace"] is True


@pytest.mark.parametrize("one", pods([*BASE, *JOBS]), ids=lambda one: one.name)
def test_memory_is_what_is_asked_for_and_processors_have_a_limit_that_threads_follow(one):
    for container in one.containers:
        asked, limit = container["resources"]["requests"], container["resources"]["limits"]
        assert asked["memory"] == limit["memory"]
        assert {"cpu"} <= set(asked) & set(limit)
        assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_a_gateways_memory_holds_the_bodies_and_the_pictures_that_are_decoded():
    container = GATEWAY.container("gateway")
    bodies = int(environment(container)["AFFECT_MAX_BODY_BYTES"])
    decoding = int(container["resources"]["limits"]["cpu"]) * DEFAULTS.max_pixels * 3
    assert memory_bytes(container["resources"]["limits"]["memory"]) >= 87e6 + bodies + decoding


def test_every_image_is_the_stage_of_a_dockerfile_or_the_one_that_compose_names():
    stages = {
        f"affect-{stage}" for name in ("Dockerfile.serve", "Dockerfile.train") for stage in dockerfile(name).stages
    }
    mapped = yaml.safe_load((K8S / "components/images/kustomization.yaml").read_text())["images"]
    images = {container["image"] for one in pods(EVERYTHING) for container in one.containers if "image" in container}
    assert images == {one["name"] for one in mapped}
    assert {name for name in images if name.startswith("affect-")} <= stages
    pinned = {
        re.search(r"tensorflow/serving:([\w.-]+)", (ROOT / name).read_text())[1]
        for name in ("compose.yaml", "compose.gpu.yaml")
    }
    assert {one["newTag"] for one in mapped if one["name"].startswith("tensorflow-")} == pinned


def test_the_metric_that_gateways_are_scaled_by_is_exported_and_read():
    (scaler,) = (
        metric
        for one in all_of(COMPONENTS, "HorizontalPodAutoscaler")
        for metric in one["spec"]["metrics"]
        if metric["type"] == "Pods"
    )
    name = scaler["pods"]["metric"]["name"]
    assert f"# TYPE {name} gauge" in Metrics().exposition().decode()
    adapter = yaml.safe_load((K8S / "components/autoscale-in-flight/prometheus-adapter.yaml").read_text())
    assert adapter["rules"]["custom"][0]["seriesQuery"].startswith(f"{name}{{")
    assert int(scaler["pods"]["target"]["averageValue"]) == DEFAULTS.max_in_flight / 2


def test_metrics_are_scraped_where_they_are():
    component = yaml.safe_load((K8S / "components/monitoring/kustomization.yaml").read_text())
    told = {patch["target"]["name"]: yaml.safe_load(patch["patch"])[0]["value"] for patch in component["patches"]}
    assert told["gateway"] == {
        "prometheus.io/scrape": "true", "prometheus.io/port": str(DEFAULTS.http_port), "prometheus.io/path": "/metrics",
    }  # fmt: skip
    assert told["tfserving"] == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(model_server_settings.REST_PORT),
        "prometheus.io/path": model_server_settings.METRICS_PATH,
    }


@pytest.mark.parametrize("name", ["features", "evaluate-stable", "evaluate-canary"])
def test_an_indexed_job_has_a_pod_for_each_part(name):
    (job,) = (one for one in all_of(JOBS, "Job") if one["metadata"]["name"] == name)
    (container,) = pods([job])[0].containers
    (shard,) = (word for word in container["args"] if word.startswith("--shard="))
    spec = job["spec"]
    assert spec["completionMode"] == "Indexed"
    assert shard == f"--shard=index/{spec['completions']}"
    assert spec["parallelism"] == spec["completions"]


def test_the_load_has_as_many_workers_as_its_master_waits_for_and_they_find_it():
    (master,), (worker,) = (pod(JOBS, name).containers for name in ("load", "load-workers"))
    judging, asking = (parsed(words(one, VARIABLES)) for one in (master, worker))
    (workers,) = (one["spec"] for one in all_of(JOBS, "Job") if one["metadata"]["name"] == "load-workers")
    assert judging.master
    assert asking.worker
    assert workers["completionMode"] == "Indexed"
    assert judging.expect_workers == workers["completions"] == workers["parallelism"]
    (service,) = (one for one in all_of(JOBS, "Service") if one["metadata"]["name"] == asking.master_host)
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"].items() <= pod(JOBS, "load").labels.items()
    assert not service["spec"]["selector"].items() <= pod(JOBS, "load-workers").labels.items()
    (port,), (listening,) = service["spec"]["ports"], master["ports"]
    assert port["targetPort"] == listening["name"]
    assert port["port"] == listening["containerPort"] == judging.master_bind_port == asking.master_port


def test_the_load_is_on_the_gateway_and_its_report_goes_to_the_results():
    master = pod(JOBS, "load")
    judging = parsed(words(master.container("load"), VARIABLES))
    ports = {one["name"]: one["containerPort"] for one in GATEWAY.container("gateway")["ports"]}
    assert judging.headless
    assert judging.host == f"http://{GATEWAY.name}:{ports['http']}"
    assert judging.grpc == f"grpc://{GATEWAY.name}:{ports['grpc']}"
    assert judging.out == "/results/1/load"


def test_the_verdict_of_a_load_is_the_status_of_its_master_alone_and_is_final():
    (master,) = (one["spec"] for one in all_of(JOBS, "Job") if one["metadata"]["name"] == "load")
    assert master["backoffLimit"] == 0
    (worker,) = pod(JOBS, "load-workers").containers
    assert parsed(words(worker, VARIABLES)).exit_code_on_error == 0


def test_load_is_kept_off_the_nodes_of_what_it_is_on():
    ((_, (preferred,)),) = pod(JOBS, "load-workers").spec["affinity"]["podAntiAffinity"].items()
    (expression,) = preferred["podAffinityTerm"]["labelSelector"]["matchExpressions"]
    assert expression["operator"] == "In"
    assert set(expression["values"]) == {one.labels[expression["key"]] for one in (GATEWAY, TFSERVING)}


@pytest.mark.parametrize("label", [STABLE, CANARY])
def test_the_promotion_joins_every_part_and_is_decided_by_the_whole(label):
    (job,) = (one for one in all_of(JOBS, "Job") if one["metadata"]["name"] == f"evaluate-{label}")
    (asking,) = pods([job])[0].containers
    assert f"--label={label}" in asking["args"]
    parts = [
        str(parsed(words(asking, VARIABLES | {INDEX_VARIABLE: str(index)})).out)
        for index in range(job["spec"]["completions"])
    ]
    promote = pod(JOBS, "promote")
    joined = parsed(words(promote.container(f"merge-{label}"), VARIABLES))
    assert [str(part) for part in joined.parts] == parts
    assert joined.out == Path(parts[0]).parent / "whole"
    gate = promote.container("promote")["args"]
    assert f"--{'if-evaluation' if label == CANARY else 'against'}=/results/$(RUN)/{label}/whole" in gate


def test_the_conditions_of_the_promotion_are_conditions():
    conditions = [
        word.removeprefix("--fail-if=")
        for word in pod(JOBS, "promote").container("promote")["args"]
        if "fail-if" in word
    ]
    assert len(conditions) == 4
    assert all(parse_condition(text) for text in conditions)


def test_features_are_those_that_training_asks_for():
    features, train = (parsed(words(pod(JOBS, name).container(name), VARIABLES)) for name in ("features", "train"))
    for name in ("data", "cache", "backbones", "weights", "seed", "split_file", "split_seed", "fractions"):
        assert getattr(features, name) == getattr(train, name), name


def test_models_are_trained_for_where_they_are_mounted():
    options = parsed(words(pod(JOBS, "train").container("train"), VARIABLES))
    assert str(options.models) == str(options.base_path) == "/models"
    waiting = parsed(words(TFSERVING.container("models"), VARIABLES))
    assert str(waiting.mount) == "/models"
    assert waiting.wait is True


def test_a_secret_is_only_ever_named():
    for one in EVERYTHING:
        assert one["kind"] != "Secret"
        assert "PRIVATE KEY" not in yaml.safe_dump(one)
    for one in pods(EVERYTHING):
        for container in one.containers:
            for name in environment(container):
                assert not re.search(r"(KEY|TOKEN|PASSWORD|SECRET)$", name) or environment(container)[name].startswith(
                    "/"
                )


@pytest.mark.parametrize("name", ["evaluate-stable", "evaluate-canary", "load", "load-workers"])
def test_what_asks_takes_the_key_from_a_secret_where_there_is_one(name):
    (container,) = pod(JOBS, name).containers
    (key,) = (one for one in container["env"] if one["name"] == KEY_VARIABLE)
    assert key["valueFrom"]["secretKeyRef"]["optional"] is True
