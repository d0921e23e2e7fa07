"""compose.yaml is valid, and names only what there is: settings, flags, files, ports, stages of Dockerfiles."""

import re
import shlex
import subprocess
import sys
from pathlib import PurePosixPath

import pytest
import yaml

from affect_dataset.faces import __main__ as faces_command
from affect_models import __main__ as models_command
from affect_registry import model_server_settings
from affect_serving.settings import Settings
from affect_training import __main__ as training
from tests.conftest import ROOT
from tests.dockerfiles import dockerfile
from tests.locust_options import locust_options

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
GPU = yaml.safe_load((ROOT / "compose.gpu.yaml").read_text())
SERVICES = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
SETTINGS = Settings(models="models")


def substituted(text: str) -> str:
    """What compose makes of a text where nothing is set."""
    return re.sub(r"\$\{(\w+):-([^}]*)\}", r"\2", text)


def volumes(service: dict) -> list[list[str]]:
    return [substituted(volume).split(":") for volume in service.get("volumes", ())]


def ports(service: dict) -> list[list[str]]:
    return [port.split(":") for port in service.get("ports", ())]


def containers_ports(name: str) -> set[int]:
    """The ports that a service listens on in its container."""
    if name in {"gateway", "embedded"}:
        return {SETTINGS.http_port, SETTINGS.grpc_port}
    if name == "tfserving":
        return {int(SERVICES[name]["command"][0].removeprefix("--port=")), model_server_settings.REST_PORT}
    return {"tfserving-metrics": {8501}, "prometheus": {9090}, "grafana": {3000}}[name]


@pytest.mark.parametrize("file", ["compose.yaml", "compose.gpu.yaml"])
def test_it_is_valid_against_the_compose_specification(file):
    words = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(ROOT / file)]
    checked = subprocess.run(words, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_a_misspelt_key_would_not_be_valid(tmp_path):
    (tmp_path / "compose.yaml").write_text("services: {gateway: {image: x, red_only: true}}")
    words = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml"]
    assert subprocess.run(words, cwd=tmp_path, capture_output=True, check=False).returncode == 1


def test_up_alone_starts_the_gateway_with_its_model_server_and_what_watches_them():
    assert {name for name, service in SERVICES.items() if not service.get("profiles")} == {
        "gateway", "tfserving", "tfserving-metrics", "prometheus", "grafana",
    }  # fmt: skip


def test_the_embedded_gateway_starts_alone_and_training_runs_first_where_it_is_asked_for():
    assert SERVICES["embedded"]["profiles"] == ["embedded"]
    assert set(SERVICES["embedded"]["depends_on"]) == {"trainer"}
    for name in ("embedded", "tfserving"):
        assert SERVICES[name]["depends_on"]["trainer"] == {
            "condition": "service_completed_successfully", "required": False,
        }  # fmt: skip
    assert SERVICES["trainer"]["profiles"] == SERVICES["faces"]["profiles"] == ["train"]
    assert SERVICES["trainer"]["depends_on"]["faces"] == {"condition": "service_completed_successfully"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_that_is_waited_for_exists(name):
    assert set(SERVICES[name].get("depends_on", ())) <= set(SERVICES)


@pytest.mark.parametrize("name", OURS)
def test_what_is_built_is_a_stage_of_a_dockerfile_with_arguments_that_it_takes(name):
    build = OURS[name]["build"]
    file = dockerfile(build["dockerfile"])
    assert build.get("target", "train") in file.stages
    assert set(build["args"]) <= file.arguments
    assert OURS[name]["image"].startswith(f"affect-{build.get('target', 'train')}:")


def test_the_base_that_compose_names_for_training_is_the_dockerfiles_own():
    base = substituted(SERVICES["trainer"]["build"]["args"]["BASE_IMAGE"])
    assert base == dockerfile("Dockerfile.train").default_base


@pytest.mark.parametrize("name", SERVICES)
def test_every_setting_is_one_of_the_gateways_and_would_be_taken(name, monkeypatch):
    given = {key: value for key, value in SERVICES[name].get("environment", {}).items() if key.startswith("AFFECT_")}
    for key, value in given.items():
        assert key.removeprefix("AFFECT_").lower() in Settings.model_fields
        monkeypatch.setenv(key, value)
    if given:
        host, port = Settings().tfserving.split(":")
        assert int(port) in containers_ports(host)
        assert set(SERVICES[host]["networks"]) & set(SERVICES[name]["networks"])


def test_the_model_servers_flags_are_those_that_affect_models_prints():
    in_flight = models_command._parser().parse_args(["flags", "--models", "models"]).in_flight
    expected = model_server_settings.flags(PurePosixPath("/models"), in_flight=in_flight)
    assert SERVICES["tfserving"]["command"] == [f"--{name}={value}" for name, value in expected.items()]


def test_the_model_server_heeds_signals():
    tfserving = SERVICES["tfserving"]
    assert tfserving["init"] is True
    assert tfserving["entrypoint"] == ["tensorflow_model_server"]


def test_the_models_are_mounted_where_their_config_says_they_are(tmp_path):
    command = [substituted(word) for word in SERVICES["trainer"]["command"]]
    options = training._parser().parse_args(command)
    mounted = {target: source for source, target, *_ in volumes(SERVICES["trainer"])}
    assert str(options.models) == str(options.base_path) == "/models"
    assert {"/data", "/models", "/cache"} == set(mounted)
    assert options.data.is_relative_to("/data")
    for name in ("tfserving", "embedded", "tools"):
        assert [mounted["/models"], "/models"] in [volume[:2] for volume in volumes(SERVICES[name])]


def test_the_faces_are_drawn_where_the_training_looks_for_them():
    _, _, script = SERVICES["faces"]["command"]
    words = shlex.split(script.partition("exec python -m affect_dataset.faces ")[2])
    drawn = faces_command._parser().parse_args(words)
    assert str(drawn.out) == SERVICES["trainer"]["command"][1]
    assert f"[ -d {drawn.out} ] ||" in script


def test_the_load_is_on_a_gateway_that_is_ready_and_its_report_stays_in_a_volume():
    load = SERVICES["load"]
    assert load["profiles"] == ["load"]
    assert load["depends_on"] == {"gateway": {"condition": "service_healthy"}}
    assert load["entrypoint"][:3] == ["dumb-init", "--", "locust"]
    # What is given after the service's name comes last, and counts.
    options = locust_options([*load["entrypoint"][3:], "--kind", "spike", "--out", "/data/other"])
    assert (options.headless, options.kind, options.out) == (True, "spike", "/data/other")
    assert options.user_classes == []
    for url, scheme, port in ((options.host, "http", SETTINGS.http_port), (options.grpc, "grpc", SETTINGS.grpc_port)):
        assert url == f"{scheme}://gateway:{port}"
    assert set(load["networks"]) & set(SERVICES["gateway"]["networks"])
    assert "--out=/data/load" in load["entrypoint"]
    assert volumes(load) == [["data", "/data"]]


def test_what_is_not_a_flag_of_the_load_would_be_found():
    with pytest.raises(AssertionError, match="unrecognized arguments: --kinds"):
        locust_options(["--headless", "--kinds", "steps"])


def test_only_the_gateway_and_what_lets_its_metrics_out_are_on_the_model_servers_network():
    on_it = {name for name, service in SERVICES.items() if "models" in service.get("networks", ())}
    assert on_it == {"gateway", "tfserving", "tfserving-metrics"}
    assert SERVICES["tfserving"]["networks"] == ["models"]
    assert COMPOSE["networks"]["models"]["internal"] is True
    assert "ports" not in SERVICES["tfserving"]


def test_what_lets_the_metrics_out_lets_nothing_else_out():
    ((source, _, _),) = volumes(SERVICES["tfserving-metrics"])
    text = (ROOT / source).read_text()
    assert f"http-request deny unless {{ method GET }} {{ path {model_server_settings.METRICS_PATH} }}" in text
    assert re.findall(r"\bserver (\S+) (\S+)", text) == [("tfserving", f"tfserving:{model_server_settings.REST_PORT}")]
    assert re.findall(r"\bbind (\S+)", text) == [":8501"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_published_port_is_one_that_is_listened_on_and_is_published_on_this_machine_alone(name):
    for host, _, inside in ports(SERVICES[name]):
        assert host == "127.0.0.1"
        assert int(inside) in containers_ports(name)


def test_no_two_services_publish_the_same_port():
    published = [port for service in SERVICES.values() for _, port, _ in ports(service)]
    assert len(published) == len(set(published))


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_mounted_is_a_volume_or_a_file_of_the_repository(name):
    for source, target, *_ in volumes(SERVICES[name]):
        assert target.startswith("/")
        assert source in COMPOSE["volumes"] or (ROOT / source).exists(), source


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_can_write_nowhere_but_into_its_volumes(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_network_exists(name):
    assert set(SERVICES[name].get("networks", ())) <= set(COMPOSE["networks"])


def test_every_image_of_somebody_else_is_pinned_and_can_come_from_a_mirror():
    for name in set(SERVICES) - set(OURS):
        image = SERVICES[name]["image"]
        assert re.fullmatch(r"\$\{[A-Z]+_IMAGE:-[\w./-]+:v?\d[\w.-]+\}", image), image
    assert set(GPU["services"]) <= set(SERVICES)
    gpu, cpu = (substituted(services["tfserving"]["image"]) for services in (GPU["services"], SERVICES))
    assert gpu == f"{cpu}-gpu"


def test_prometheus_asks_services_that_there_are_for_metrics_that_they_have():
    config = yaml.safe_load((ROOT / "monitoring/prometheus/prometheus.yaml").read_text())
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    assert set(jobs) == {"affect", "tfserving", "prometheus"}
    for job in jobs.values():
        ((host, port),) = (target.split(":") for one in job["static_configs"] for target in one["targets"])
        name = "prometheus" if host == "localhost" else host
        assert "monitoring" in SERVICES[name]["networks"]
        assert int(port) in containers_ports(name)
    assert jobs["tfserving"]["metrics_path"] == model_server_settings.METRICS_PATH
    assert "--config.file=/etc/prometheus/prometheus.yaml" in SERVICES["prometheus"]["command"]


def test_grafana_is_given_its_source_and_the_folder_of_the_dashboard():
    provisioning = ROOT / "monitoring/grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((provisioning / "dashboards/affect.yaml").read_text())["providers"]
    mounted = {target: source for source, target, *_ in volumes(SERVICES["grafana"])}
    assert mounted[provider["options"]["path"]] == "./monitoring/grafana"
    assert mounted["/etc/grafana/provisioning"] == "./monitoring/grafana/provisioning"


def test_the_gateway_is_given_the_time_that_its_draining_takes():
    for name in ("gateway", "embedded"):
        assert SERVICES[name]["stop_grace_period"] == "30s"


def test_the_documentation_names_services_profiles_and_variables_that_there_are():
    text = (ROOT / "docs/containers.md").read_text() + (ROOT / "README.md").read_text()
    profiles = {profile for service in SERVICES.values() for profile in service.get("profiles", ())}
    assert set(re.findall(r"--profile (\w+)", text)) <= profiles
    assert set(re.findall(r"docker compose (?:up|run --rm(?: --no-deps)?) ([a-z]+)", text)) <= set(SERVICES)
    for words in re.findall(r"run --rm --no-deps trainer (.*)", text):
        assert training._parser().parse_args(words.split()).base_path
    loads = re.findall(r"run --rm load (--.*?)(?:  |$)", text, re.MULTILINE)
    assert loads
    for words in loads:
        assert locust_options(words.split())
    files = "".join((ROOT / name).read_text() for name in ("compose.yaml", "compose.gpu.yaml"))
    variables = set(re.findall(r"\b(?:TRAIN_BASE|[A-Z]+)_IMAGE\b|\bAFFECT_\w+_VOLUME\b|\bAFFECT_WEIGHTS\b", text))
    assert variables - {"BASE_IMAGE"} <= set(re.findall(r"\$\{(\w+):-", files))
    stages = {*dockerfile("Dockerfile.serve").stages, *dockerfile("Dockerfile.train").stages}
    assert set(re.findall(r"`affect-(gateway|embedded|tools|train)`", text)) <= stages
