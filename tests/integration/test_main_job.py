"""The main job end to end, with the commands a user types: train, publish, serve, predict, evaluate."""

import json
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
import tensorflow as tf

from affect_client.http.client import Client
from affect_client.local_gateway import local_gateway
from affect_contract.labels import LABELS
from affect_contract.outputs import PROBABILITIES, VALENCE
from affect_contract.preprocess import preprocess
from affect_registry import store
from affect_testbed.pictures import encoded, patches, png_header
from tests.conftest import command


@pytest.fixture(scope="module")
def url(trained):
    with local_gateway(trained) as (running, _):
        yield running


@pytest.fixture(scope="module")
def pictures(faces, tmp_path_factory):
    """Faces, and photographs of other sizes: training never resizes, so only these show two resizes that differ."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(8):
        shutil.copy(faces / "images" / f"{number}.jpg", folder)
    (folder / "wide.png").write_bytes(encoded(patches(640, 400, seed=5), "PNG"))
    (folder / "tall.jpg").write_bytes(encoded(patches(300, 500, seed=6)))
    return sorted(folder.iterdir())


def through_tensorflow(trained: Path, name: str, pictures: list[Path]) -> dict[str, np.ndarray]:
    model = tf.saved_model.load(str(trained / name / "1"))
    images = np.stack([preprocess(picture.read_bytes()) for picture in pictures])
    outputs = model.signatures["serving_default"](images=tf.constant(images))
    return {key: value.numpy() for key, value in outputs.items()}


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "custom_cnn"])
def test_every_path_gives_the_same_numbers_for_the_same_picture(backbone, trained, url, pictures):
    names = (
        ["mobilenet_v2_affect"]
        if backbone == "mobilenet_v2"
        else [f"custom_cnn_{t}" for t in ("classification", "regression")]
    )
    expected = {key: value for name in names for key, value in through_tensorflow(trained, name, pictures).items()}
    assert np.ptp(expected[PROBABILITIES], axis=0).max() > 0.05
    assert np.ptp(expected[VALENCE]) > 0.05
    output = command("affect-predict", *pictures, "--models", trained, "--backbone", backbone, "--json").stdout
    own = [json.loads(line) for line in output.splitlines()]
    with Client(url) as client:
        http = [client.predict(picture.read_bytes(), backbone=backbone).model_dump() for picture in pictures]
        batch = client.predict_batch([picture.read_bytes() for picture in pictures], backbone=backbone)
    for answers in (own, http, [one.model_dump() for one in batch]):
        probabilities = [[answer["probabilities"][label] for label in LABELS] for answer in answers]
        np.testing.assert_allclose(probabilities, expected[PROBABILITIES], atol=1e-4)
        for name in ("valence", "arousal"):
            np.testing.assert_allclose([answer[name] for answer in answers], expected[name], atol=1e-4)
        assert [answer["expression_id"] for answer in answers] == list(np.argmax(probabilities, axis=1))


def test_a_publish_is_a_whole_models_directory(trained):
    entries = store.read(trained)
    assert sorted(entries) == [
        "custom_cnn_classification", "custom_cnn_regression",
        "mobilenet_v2_affect", "mobilenet_v2_classification", "mobilenet_v2_regression",
    ]  # fmt: skip
    for entry in entries.values():
        assert (entry.versions, dict(entry.labels)) == ((1,), {"stable": 1})
        version = entry.directory(trained) / "1"
        assert (version / store.WARMUP_FILE).stat().st_size > 0
        facts = json.loads((version / store.PROVENANCE_FILE).read_text())
        assert facts["model"] == entry.name
        assert facts["seed"] == 0
        assert len(facts["data_digest"]) == 64
        for task in facts["tasks"].values():
            assert task["recipe"]["epochs"] == 3
            assert task["metrics"]["val_loss"] > 0
            if entry.name.startswith("mobilenet"):
                assert task["weights"] == "none"
                assert "near chance" in task["note"]
    records = {path.name for path in (trained / "runs" / "1").iterdir()}
    assert {"history.json", "split.csv", "exclusions.csv", "comparison_classification.png"} <= records
    assert {f"curves_mobilenet_v2_{task}.png" for task in ("classification", "regression")} <= records
    assert {f"loss_comparison_{task}.png" for task in ("classification", "regression")} <= records
    assert not list(trained.glob(".training/*/"))


def test_the_gateway_serves_the_fused_model_and_leaves_its_pair_alone(url):
    with Client(url) as client:
        served = client.models()
    assert served.default_backbone == "mobilenet_v2"
    assert [model.name for model in served.models] == [
        "mobilenet_v2_affect", "custom_cnn_classification", "custom_cnn_regression",
    ]  # fmt: skip


BAD = {
    "an empty body": b"",
    "text": b"this is no picture",
    "a truncated JPEG": encoded(patches())[:3000],
    "a header of 3.6 gigapixels": png_header(60_000, 60_000),
    "30 MB of noise": b"\x99" * 30_000_000,
}


def test_bad_input_over_a_real_connection_leaves_the_gateway_serving(url, pictures):
    with httpx.Client(base_url=url) as http:
        for data in BAD.values():
            refused = http.post("/predict", content=data, headers={"Content-Type": "image/jpeg"})
            assert refused.status_code in (400, 413)
            assert refused.json()["code"] in ("invalid_image", "too_large")
        assert http.post("/predict", content=pictures[0].read_bytes()).status_code == 200


def test_the_gateways_process_never_loads_tensorflow(url, trained, pictures):
    port = int(url.rpartition(":")[2])
    (process,) = [
        one.pid and psutil.Process(one.pid) for one in psutil.net_connections("tcp")
        if one.laddr.port == port and one.status == psutil.CONN_LISTEN
    ]  # fmt: skip
    with Client(url) as client:
        client.predict(pictures[0].read_bytes())
    assert not [row.path for row in process.memory_maps() if "site-packages/tensorflow/" in row.path]


@contextmanager
def serving(models: Path):
    words = [sys.executable, "-m", "affect_serving", "--models", str(models), "--http-port", "0", "--grpc-port", "0"]
    words += ["--drain-delay-s", "0"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_the_gateway_says_when_it_is_ready_and_ends_well_when_asked(trained):
    with serving(trained) as process:
        assert process.stdout.readline().startswith("affect-serve: ready on http://127.0.0.1:")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_a_port_in_use_is_one_line_and_status_2(trained, url):
    port = url.rpartition(":")[2]
    done = command("affect-serve", "--models", trained, "--http-port", port, "--grpc-port", 0, status=2)
    assert f"cannot listen on 127.0.0.1, port {port}" in done.stderr.splitlines()[-1]


def test_the_test_split_is_scored_through_the_service_beside_baselines_and_study(faces, trained, url, tmp_path):
    done = command("affect-evaluate", "--url", url, "--data", faces, "--out", tmp_path / "out")
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    rows = [json.loads(line) for line in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
    count = sum(line.endswith(",test") for line in (faces / "split.csv").read_text().splitlines())
    assert len(rows) == 2 * count
    assert set(metrics["models"]) == {"mobilenet_v2", "custom_cnn"}
    truth = {
        path.stem: int(np.load(faces / "annotations" / f"{path.stem}_exp.npy").item())
        for path in (faces / "images").iterdir()
    }
    right = [row["answer"]["expression_id"] == truth[row["id"]] for row in rows if row["backbone"] == "custom_cnn"]
    assert metrics["models"]["custom_cnn"]["classification"]["accuracy"] == pytest.approx(np.mean(right))
    for word in ("custom_cnn", "majority class", "study: mobilenet_v2", "0.4435"):
        assert word in done.stdout
    again = command("affect-evaluate", "--url", url, "--data", faces, "--out", tmp_path / "out")
    assert len((tmp_path / "out" / "predictions.jsonl").read_text().splitlines()) == len(rows), "asked once"
    assert again.stdout == done.stdout


@pytest.mark.parametrize("spoil", ["no service", "no data", "no such backbone", "another run"])
def test_an_evaluation_that_cannot_be_is_one_line_and_status_2(spoil, faces, url, tmp_path):
    arguments = {"--url": url, "--data": faces, "--out": tmp_path / "out"}
    if spoil == "no service":
        arguments["--url"] = "http://127.0.0.1:9"
    if spoil == "no data":
        arguments["--data"] = tmp_path
    if spoil == "no such backbone":
        arguments["--backbones"] = "densenet121"
    if spoil == "another run":
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "run.json").write_text('{"data_digest": "other"}')
    done = command("affect-evaluate", *(word for pair in arguments.items() for word in pair), status=2)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("affect-evaluate: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--data", "{tmp}/nowhere"], "there is no data set"),
        (["--data", "{tmp}/empty"], "has no known layout"),
        (["--data", "{tmp}/wrong.csv"], "lacks expression"),
        (["--data", "{tmp}/few.csv"], "the validation split is empty: 1 pictures are too few to divide"),
        (["--models", "{tmp}/wrong.csv"], "cannot be written"),
        (["--weights", "{tmp}/empty"], "there is no {tmp}/empty/mobilenet_v2_imagenet_notop.weights.h5: put"),
        (["--weights", "{tmp}/bad"], "does not hold the weights of mobilenet_v2"),
        (["--weights", "vgg=none"], "'vgg' takes no weights"),
        (["--weights", "mobilenet_v2=imagenet"], "cannot be downloaded"),
        (["--backbones", "vgg"], "choose from mobilenet_v2, densenet121, custom_cnn"),
        (["--fractions", "0.5,0.5,0.5"], "sum to 1"),
        (["--epochs", "none"], "give a whole number from 1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_training_that_cannot_be_is_one_line_and_status_2_and_leaves_nothing(arguments, sentence, faces, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "mobilenet_v2_imagenet_notop.weights.h5").write_bytes(b"no weights")
    (tmp_path / "few.csv").write_text("path,expression,valence,arousal\nfew.png,1,0,0\n")
    (tmp_path / "few.png").write_bytes(encoded(patches(), "PNG"))
    (tmp_path / "wrong.csv").write_text("path,feeling,valence,arousal\n1.jpg,1,0,0\n")
    given = dict(zip(arguments[::2], arguments[1::2], strict=True))
    usual = {"--data": faces, "--models": tmp_path / "models", "--cache": tmp_path / "cache", "--weights": "none"}
    words = [
        str(word).format(tmp=tmp_path)
        for pair in {**usual, "--backbones": "mobilenet_v2", **given}.items()
        for word in pair
    ]
    # Nobody's cache and nobody's network: a download finds no proxy to go through.
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "https_proxy": "http://127.0.0.1:9"}
    done = command("affect-train", *words, status=2, env=environment)
    last = done.stderr.splitlines()[-1]
    assert "affect-train: " in last
    assert sentence.format(tmp=tmp_path) in last
    assert "Traceback" not in done.stderr
    models = tmp_path / "models"
    assert not models.exists() or not [path for path in models.iterdir() if path.is_dir() and any(path.iterdir())]


def test_an_interrupted_training_goes_on_and_publishes_what_an_undisturbed_one_publishes(faces, tmp_path):
    words = [
        "--data",
        faces,
        "--backbones",
        "custom_cnn",
        "--tasks",
        "regression",
        "--epochs",
        "3",
        "--cache",
        tmp_path,
    ]
    command("affect-train", *words, "--models", tmp_path / "whole")
    program = [
        str(Path(sys.executable).with_name("affect-train")),
        *map(str, words),
        "--models",
        str(tmp_path / "torn"),
    ]
    with subprocess.Popen(program, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        while not list((tmp_path / "torn").glob(".training/*/checkpoints/*.npz")):
            assert process.poll() is None
        process.kill()
    assert not (tmp_path / "torn" / "models.config").exists()
    command("affect-train", *words, "--models", tmp_path / "torn")
    losses = []
    for folder in ("whole", "torn"):
        history = json.loads((tmp_path / folder / "runs" / "1" / "history.json").read_text())
        losses.append([epoch["val_loss"] for epoch in history["models"]["custom_cnn_regression"]["epochs"]])
    assert losses[0] == losses[1]
    assert len(losses[0]) == 3
