"""Routing, settings and processors: the parts of the gateway that need no HTTP."""

import subprocess
import sys
from pathlib import PurePosixPath

import numpy as np
import pytest

from affect_contract.errors import ModelNotReady, Overloaded, UnknownModel
from affect_contract.models import fused, single
from affect_contract.outputs import Task
from affect_contract.versions import AVAILABLE
from affect_registry import store
from affect_serving.__main__ import main, read_settings
from affect_serving.backends.embedded.backend import EmbeddedBackend
from affect_serving.core.backend import Selector, ServingError, Version
from affect_serving.core.cpus import usable_cpus
from affect_serving.core.routing import route
from affect_serving.settings import Settings
from tests.conftest import ROOT

SAVE = """
import sys
from pathlib import Path
from affect_contract.outputs import Task
from affect_training.networks.backbones import build_base
from affect_training.networks.heads import build_head
from affect_training.export.saved_model import export
from affect_training.recipes.recipe import STUDY_RECIPE

base = build_base("custom_cnn")
heads = {Task.CLASSIFICATION: build_head(Task.CLASSIFICATION, base.output.shape[-1], STUDY_RECIPE, seed=0)}
export(Path(sys.argv[1]), base, heads)
"""


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory):
    """The file of a custom CNN that classifies; TensorFlow makes it in a process of its own."""
    directory = tmp_path_factory.mktemp("saved") / "1"
    subprocess.run([sys.executable, "-c", SAVE, str(directory)], check=True, capture_output=True)
    return directory / store.SAVED_MODEL_FILE


FUSED = fused("mobilenet_v2")
PAIR = [single("mobilenet_v2", task) for task in Task]


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
    assert settings.backbones == ("densenet121", "custom_cnn")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], r"give --models DIR \(or AFFECT_MODELS\), or --tfserving HOST:PORT"),
        (["--models", "m", "--tfserving", "h:1"], "and not both"),
        (["--tfserving", "8500"], r"--tfserving \(or AFFECT_TFSERVING\): '8500' is not HOST:PORT"),
        (["--tfserving", "h:0"], "is not HOST:PORT"),
        (["--tfserving", "h:1", "--tfserving-ca", "x"], "tfserving_ca has no effect without TLS"),
        (["--tfserving", "h:1", "--tfserving-tls", "true", "--tfserving-key", "x"], "together"),
        (["--models", "m", "--http-port", "x"], r"--http-port \(or AFFECT_HTTP_PORT\)"),
        (["--models", "m", "--max-pixels", "999999999"], "--max-pixels"),
        (["--models", "m", "--backbones", "vgg"], "--backbones"),
        (["--models", "m", "--embedded-precision", "f8"], "--embedded-precision"),
        (["--models", "m", "--tls-cert", "x"], "give tls_cert and tls_key together"),
        (["--models", "m", "--cors-origins", "https://a.org,b.org/path"], "'b.org/path' is no origin"),
        (["--models", "m", "--otlp-endpoint", "collector:4317"], "'collector:4317' is no URL"),
        (["--models", "m", "--access-log-sample", "2"], "--access-log-sample"),
        (["--models", "m", "--max-in-flight", "0"], "--max-in-flight"),
        (["--models", "m", "--log-format", "xml"], "--log-format"),
    ],
)
def test_a_wrong_setting_is_named_by_its_flag_and_variable(arguments, sentence):
    with pytest.raises(ServingError, match=sentence):
        read_settings(arguments)


def test_every_setting_is_in_the_documentation_with_its_default_and_its_meaning():
    text = (ROOT / "docs" / "operations.md").read_text()
    for name, field in Settings.model_fields.items():
        assert f"| `{name}` | {shown(name, field.default)} | {' '.join(field.description.split())} |" in text


def shown(name, value) -> str:
    """A default as the documentation states it."""
    if value is None or value == ():
        return "-"
    is_count = isinstance(value, int) and not isinstance(value, bool) and not name.endswith("port")
    return f"{value:,}" if is_count else str(value).lower()


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
    arguments = ["--models", str(models), "--http-port", "0", "--grpc-port", "0", "--log-level", "error"]
    assert main([*arguments, *(["--backbones", "densenet121"] if spoil == "no such backbone" else [])]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("affect-serve: ")]
    assert len(lines) == 1
    assert str(models) in lines[0] or "mobilenet_v2_affect" in lines[0]


async def test_a_canary_that_does_not_load_leaves_the_stable_version_serving(tmp_path, saved_model):
    for number, whole in ((1, True), (2, False)):
        version = tmp_path / "custom_cnn_classification" / str(number)
        version.mkdir(parents=True)
        (version / store.SAVED_MODEL_FILE).write_bytes(saved_model.read_bytes() if whole else b"torn")
    base_path = PurePosixPath(tmp_path / "custom_cnn_classification")
    labels = {"stable": 1, "canary": 2}
    store.write(tmp_path, {base_path.name: store.Entry(base_path.name, base_path, (1, 2), labels)})
    backend = EmbeddedBackend(tmp_path, cpus=1)
    await backend.start()
    try:
        ((model, versions),) = (await backend.catalog()).items()
        assert [(one.number, one.state, one.labels) for one in versions] == [
            (1, AVAILABLE, ("stable",)),
            (2, "END", ("canary",)),
        ]
        images = np.zeros((3, 224, 224, 3), np.uint8)
        answer = await backend.run(model, Selector(), images, timeout_s=10)
        assert (answer.version, answer.outputs["probabilities"].shape) == (1, (3, 8))
        with pytest.raises(ModelNotReady):
            await backend.run(model, Selector(label="canary"), images, timeout_s=10)
    finally:
        await backend.close()


async def test_more_pictures_than_may_wait_are_refused_at_once(tmp_path, saved_model):
    version = tmp_path / "custom_cnn_classification" / "1"
    version.mkdir(parents=True)
    (version / store.SAVED_MODEL_FILE).write_bytes(saved_model.read_bytes())
    backend = EmbeddedBackend(tmp_path, cpus=1)
    await backend.start()
    try:
        (model,) = await backend.catalog()
        with pytest.raises(Overloaded, match="pictures wait for custom_cnn_classification already") as caught:
            await backend.run(model, Selector(), np.zeros((300, 224, 224, 3), np.uint8), timeout_s=10)
        assert caught.value.retry_after_s
        await backend.run(model, Selector(), np.zeros((2, 224, 224, 3), np.uint8), timeout_s=10)
    finally:
        await backend.close()
