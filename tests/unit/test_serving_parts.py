"""Routing, settings and processors: the parts of the gateway that need no HTTP."""

import pytest

from affect_contract.errors import ModelNotReady, UnknownModel
from affect_contract.models import Backbone, Task, fused, single
from affect_serving.__main__ import main, read_settings
from affect_serving.backend import AVAILABLE, Selector, ServingError, Version
from affect_serving.cpus import usable_cpus
from affect_serving.routing import route
from affect_serving.settings import Settings

FUSED = fused(Backbone.MOBILENET_V2)
PAIR = [single(Backbone.MOBILENET_V2, task) for task in Task]


def version(number: int, *labels: str, state: str = AVAILABLE) -> Version:
    return Version(number, state, labels)


def names(catalog, selector=Selector()):  # noqa: B008
    return [model.name for model in route(catalog, "mobilenet_v2", selector)]


def test_the_fused_model_is_preferred_where_it_is_as_new_as_the_pair():
    everything = dict.fromkeys([FUSED, *PAIR], (version(1, "stable"),))
    assert names(everything) == ["mobilenet_v2_affect"]


def test_the_pair_answers_where_one_of_it_is_newer_than_the_fused_model():
    catalog = {
        FUSED: (version(1, "stable"),),
        PAIR[0]: (version(1), version(2, "stable")),
        PAIR[1]: (version(1, "stable"),),
    }
    assert names(catalog) == ["mobilenet_v2_classification", "mobilenet_v2_regression"]
    assert names(catalog, Selector(version=1)) == ["mobilenet_v2_affect"]
    assert names(catalog, Selector(version=2)) == ["mobilenet_v2_classification"]


def test_a_label_or_version_is_answered_by_the_models_that_have_it():
    catalog = {FUSED: (version(1, "stable"), version(2, "canary"))}
    assert names(catalog, Selector(label="canary")) == ["mobilenet_v2_affect"]
    assert names(catalog, Selector(version=2)) == ["mobilenet_v2_affect"]
    with pytest.raises(UnknownModel, match="no label 'beta': it has version 1, 2, label canary, stable"):
        names(catalog, Selector(label="beta"))


def test_without_any_label_the_latest_version_is_stable():
    assert names({FUSED: (version(3), version(12))}) == ["mobilenet_v2_affect"]
    with pytest.raises(UnknownModel):
        names({FUSED: (version(3, "canary"),)})


def test_a_model_that_is_known_and_not_available_is_not_ready():
    with pytest.raises(ModelNotReady, match="mobilenet_v2_affect cannot answer yet"):
        names({FUSED: (version(1, "stable", state="LOADING"),)})


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "max 100000"}, None),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ({}, None),
    ],
    ids=["v2 unlimited", "v2 half", "v2 one and a half", "v1 unlimited", "v1 one", "no cgroup"],
)
def test_a_containers_quota_limits_the_processors(tmp_path, monkeypatch, files, quota):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert usable_cpus(tmp_path) == (quota or 8)


def test_a_flag_wins_over_the_environment_and_the_environment_over_the_default(monkeypatch, tmp_path):
    monkeypatch.setenv("AFFECT_MODELS", "from-environment")
    monkeypatch.setenv("AFFECT_HTTP_PORT", "1234")
    monkeypatch.setenv("AFFECT_BACKBONES", "densenet121,custom_cnn")
    settings = read_settings(["--models", str(tmp_path)])
    assert (settings.models, settings.http_port, settings.host) == (tmp_path, 1234, "127.0.0.1")
    assert settings.backbones == (Backbone.DENSENET121, Backbone.CUSTOM_CNN)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], r"--models \(or AFFECT_MODELS\): Field required"),
        (["--models", "m", "--http-port", "x"], r"--http-port \(or AFFECT_HTTP_PORT\)"),
        (["--models", "m", "--max-pixels", "999999999"], "--max-pixels"),
        (["--models", "m", "--backbones", "vgg"], "--backbones"),
        (["--models", "m", "--embedded-precision", "f8"], "--embedded-precision"),
    ],
)
def test_a_wrong_setting_is_named_by_its_flag_and_variable(arguments, sentence):
    with pytest.raises(ServingError, match=sentence):
        read_settings(arguments)


def test_every_setting_is_documented():
    assert all(field.description for field in Settings.model_fields.values())


@pytest.mark.parametrize("spoil", ["missing", "empty", "broken config", "no such backbone", "not a model"])
def test_a_gateway_that_could_not_answer_says_so_in_one_line(tmp_path, capsys, spoil):
    models = tmp_path / "models"
    if spoil != "missing":
        models.mkdir()
    if spoil == "broken config":
        (models / "models.config").write_text("nonsense")
    if spoil == "not a model":
        (models / "mobilenet_v2_affect" / "1").mkdir(parents=True)
        (models / "mobilenet_v2_affect" / "1" / "saved_model.pb").write_bytes(b"nonsense")
    arguments = ["--models", str(models), "--http-port", "0", "--log-level", "error"]
    assert main([*arguments, *(["--backbones", "densenet121"] if spoil == "no such backbone" else [])]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("affect-serve: ")]
    assert len(lines) == 1
    assert str(models) in lines[0] or "mobilenet_v2_affect" in lines[0]
