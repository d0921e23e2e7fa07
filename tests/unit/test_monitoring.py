"""The dashboard and the alert rules ask for what there is, and Prometheus itself understands them."""

import asyncio
import json
import re
import shutil
import subprocess

import httpx
import pytest
import yaml

from affect_contract.errors import AffectError, ErrorCode
from affect_serving.app import running_gateway
from affect_serving.http.service import create_http_app
from affect_serving.settings import Settings
from affect_serving.telemetry.metrics import Rejection
from affect_testbed.pictures import encoded, patches
from tests.conftest import ROOT
from tests.gateway import FakeBackend

DASHBOARD = ROOT / "monitoring" / "grafana" / "affect.json"
RULES = ROOT / "monitoring" / "prometheus" / "rules.yaml"
OF_THE_TARGET = {"job", "instance"}
SELECTOR = re.compile(r"\b((?:affect|process)_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"')
GROUPING = re.compile(r"\b(?:by|ignoring|on|without)\s*\(([^)]*)\)")


def rules():
    return yaml.safe_load(RULES.read_text())["groups"][0]["rules"]


def panels():
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def dashboard_expressions():
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def expressions():
    return [rule["expr"] for rule in rules()] + dashboard_expressions()


@pytest.fixture(scope="module")
def exposed():
    """The labels of every sample, by name, of a gateway that was ready, has answered and failed."""

    async def collect():
        backend = FakeBackend()
        async with running_gateway(Settings(models="unused"), backend) as running:
            transport = httpx.ASGITransport(create_http_app(*running))
            async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
                await client.get("/readyz")
                await client.post("/predict", content=encoded(patches()))
                backend.failure = AffectError.by_code[ErrorCode.BACKEND_ERROR]("on purpose")
                await client.post("/predict", content=encoded(patches()))
                text = (await client.get("/metrics")).text
            samples = [sample for family in running.metrics.registry.collect() for sample in family.samples]
        assert all(f"\n{sample.name}" in f"\n{text}" for sample in samples)
        return {sample.name: set(sample.labels) for sample in samples}

    return asyncio.run(collect())


@pytest.mark.parametrize("expression", expressions())
def test_every_metric_and_label_that_is_asked_for_exists(exposed, expression):
    asked = SELECTOR.findall(expression)
    assert asked
    known = set(OF_THE_TARGET)
    for name, matchers in asked:
        assert name in exposed, name
        known |= exposed[name]
        assert {label for label, _ in MATCHER.findall(matchers)} <= exposed[name] | OF_THE_TARGET
    for labels in GROUPING.findall(expression):
        assert {label.strip() for label in labels.split(",")} <= known, labels


@pytest.mark.parametrize(("label", "values"), [("code", ErrorCode), ("reason", Rejection)])
def test_every_value_that_is_asked_for_can_come(label, values):
    asked = {
        value
        for expression in expressions()
        for name, pattern in MATCHER.findall(expression)
        if name == label
        for value in pattern.split("|")
    }
    assert len(asked - {""}) > 2
    assert asked <= {"", *values}


def test_every_reason_and_stage_is_shown():
    shown = " ".join(dashboard_expressions())
    families = {
        "requests_in_flight",
        "requests_queued",
        "queue_seconds",
        "decode_seconds",
        "backend_seconds",
        "rejected_total",
    }
    families |= {"valence_bucket", "arousal_bucket", "predictions_total", "ready", "body_bytes", "http_connections"}
    assert [name for name in families if f"affect_{name}" not in shown] == []


def test_no_two_panels_lie_on_one_another_and_each_says_what_it_shows():
    places = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in json.loads(DASHBOARD.read_text())["panels"]
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]
    assert len(places) == len(set(places))
    assert max(x for x, _ in places) < 24
    assert all(panel["title"] and panel["description"] for panel in panels())
    identities = [panel["id"] for panel in json.loads(DASHBOARD.read_text())["panels"]]
    assert len(identities) == len(set(identities))


def promtool(*words):
    if not shutil.which("promtool"):
        pytest.skip("promtool, which knows PromQL, is not here: apt-get install prometheus")
    done = subprocess.run(["promtool", *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_understands_the_rules():
    promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)


def test_prometheus_understands_the_dashboards_queries(tmp_path):
    def plain(expression):
        return expression.replace("$__rate_interval", "5m").replace("$", "")

    recorded = [{"record": f"q:{number}", "expr": plain(one)} for number, one in enumerate(dashboard_expressions())]
    (tmp_path / "queries.yaml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}))
    promtool("check", "rules", tmp_path / "queries.yaml")


PREDICT = 'job="affect", instance="a", route="/predict"'
SERIES = {
    "AffectNotReady": ({'affect_ready{job="affect", instance="a"}': "1 0x30"}, "10m"),
    "AffectVersionFailed": (
        {'affect_model_version_failed{job="affect", instance="a", model="m", version="2"}': "0x5 1x30"}, "12m",
    ),
    "AffectModelsTrouble": ({'affect_models_trouble{job="affect", instance="a"}': "0x5 1x30"}, "12m"),
    "AffectErrors": (
        {
            f'affect_requests_total{{{PREDICT}, status="200", code=""}}': "0+90x60",
            f'affect_requests_total{{{PREDICT}, status="502", code="backend_error"}}': "0+10x60",
        },
        "30m",
    ),
    "AffectOverloaded": (
        {
            f'affect_requests_total{{{PREDICT}, status="200", code=""}}': "0+90x60",
            'affect_rejected_total{job="affect", instance="a", reason="queue_full"}': "0+10x60",
        },
        "30m",
    ),
    "AffectSlow": (
        {
            f'affect_request_seconds_bucket{{{PREDICT}, code="", le="1"}}': "0+90x60",
            f'affect_request_seconds_bucket{{{PREDICT}, code="", le="5"}}': "0+100x60",
            f'affect_request_seconds_bucket{{{PREDICT}, code="", le="+Inf"}}': "0+100x60",
        },
        "30m",
    ),
    "AffectManyUnauthorized": (
        {'affect_rejected_total{job="affect", instance="a", reason="unauthorized"}': "0+120x60"}, "30m",
    ),
    "AffectKeysNotReloaded": (
        {'affect_api_keys_reload_failures_total{job="affect", instance="a"}': "0x5 1x30"}, "12m",
    ),
    "AffectAnswersDrift": (
        {
            'affect_predictions_total{job="affect", backbone="b", expression="happy"}': "0+10x168 1680+2x48",
            'affect_predictions_total{job="affect", backbone="b", expression="fear"}': "0+10x168 1680+18x48",
        },
        "182h",
    ),
}  # fmt: skip


@pytest.mark.parametrize("alert", SERIES)
def test_every_alert_fires_when_it_should(tmp_path, alert):
    series, when = SERIES[alert]
    promtool("test", "rules", unit_test(tmp_path, alert, series, when, fires=True))


@pytest.mark.parametrize("alert", sorted(set(SERIES) - {"AffectKeysNotReloaded", "AffectNotReady"}))
def test_no_alert_fires_when_all_is_well(tmp_path, alert):
    well = {
        f'affect_requests_total{{{PREDICT}, status="200", code=""}}': "0+90x60",
        f'affect_request_seconds_bucket{{{PREDICT}, code="", le="0.1"}}': "0+90x60",
        f'affect_request_seconds_bucket{{{PREDICT}, code="", le="+Inf"}}': "0+90x60",
        'affect_predictions_total{job="affect", backbone="b", expression="happy"}': "0+10x240",
        'affect_model_version_failed{job="affect", instance="a", model="m", version="2"}': "0x240",
        'affect_models_trouble{job="affect", instance="a"}': "0x240",
    }
    promtool("test", "rules", unit_test(tmp_path, alert, well, "30m", fires=False))


def unit_test(folder, alert, series, when, *, fires):
    (rule,) = (rule for rule in rules() if rule["alert"] == alert)
    # Only that it fires is asked, and its words are its own.
    bare = {name: value for name, value in rule.items() if name != "annotations"}
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "one", "rules": [bare]}]}))
    labels = {"severity": rule["labels"]["severity"], "job": "affect"}
    if "by (job" not in rule["expr"]:
        labels["instance"] = "a"
    if alert == "AffectVersionFailed":
        labels |= {"model": "m", "version": "2"}
    if alert == "AffectAnswersDrift":
        labels |= {"backbone": "b", "expression": "fear"}
    document = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1h" if when.endswith("h") else "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "alert_rule_test": [
                    {"eval_time": when, "alertname": alert, "exp_alerts": [{"exp_labels": labels}] if fires else []}
                ],
            }
        ],
    }
    file = folder / "test.yaml"
    file.write_text(yaml.safe_dump(document))
    return file
