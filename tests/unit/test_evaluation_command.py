"""`affect-evaluate`: what is written, what is printed, and the exit status."""

import json

import numpy as np
import pytest
from PIL import Image

from affect_contract.labels import LABELS
from affect_evaluation.__main__ import main
from tests.unit.client_gateway import FakeGateway, problem

COUNT = 40


@pytest.fixture
def gateway():
    return FakeGateway(version=7)


@pytest.fixture
def url(gateway):
    with gateway.listening() as listening:
        yield listening


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    rng = np.random.default_rng(0)
    lines = ["path,expression,valence,arousal"]
    for number in range(COUNT):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / f"{number:02}.png")
        lines.append(f"{number:02}.png,{number % 2},{rng.uniform(-1, 1):.3f},{rng.uniform(-1, 1):.3f}")
    lines.append("40.png,9,0,0")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def evaluate(url, data, tmp_path):
    def run(*flags, at=url, of=data, out=tmp_path / "out"):
        return main(["--url", at, "--data", str(of), "--out", str(out), *map(str, flags)])

    return run


def metrics(folder):
    return json.loads((folder / "out" / "metrics.json").read_text())


def test_the_test_split_is_scored_as_it_was_answered(evaluate, gateway, data, tmp_path, capsys):
    assert evaluate() == 0
    scores = metrics(tmp_path)["models"]["mobilenet_v2"]
    truth = {
        (data / line.split(",")[0]).read_bytes(): int(line.split(",")[1])
        for line in (data / "labels.csv").read_text().splitlines()[1:-1]
    }
    asked = [picture for picture, _ in gateway.asked]
    answers = [gateway.prediction(picture, "mobilenet_v2") for picture in asked]
    right = [answer["expression_id"] == truth[picture] for answer, picture in zip(answers, asked, strict=True)]
    assert scores["classification"]["accuracy"] == pytest.approx(np.mean(right))
    assert scores["classification"]["n"] == scores["regression"]["arousal"]["n"] == len(asked) == 6
    assert scores["versions"] == {"mobilenet_v2_affect": 7}
    assert scores["coverage"] == {"asked": 6, "answered": 6, "share": 1.0}
    printed = capsys.readouterr().out
    assert printed.startswith("6 pictures: the test split\n")
    for word in ("mobilenet_v2 (version 7)", "majority class", "study: mobilenet_v2", "0.4435", "metrics.json"):
        assert word in printed


def test_the_document_has_the_keys_that_others_read(evaluate, tmp_path):
    evaluate()
    document = metrics(tmp_path)
    assert set(document) == {"models", "baselines", "data", "intervals"}
    scores = document["models"]["mobilenet_v2"]
    assert {"classification", "regression", "coverage", "versions"} <= set(scores)
    named = {"accuracy", "f1_macro", "cohen_kappa", "auc_roc_macro", "auc_pr_macro", "krippendorff_alpha", "n"}
    assert named | {"per_class", "confusion"} <= set(scores["classification"])
    assert list(scores["classification"]["per_class"]) == list(LABELS)
    for dimension in ("valence", "arousal"):
        affect = set(scores["regression"][dimension])
        assert {"rmse", "mae", "corr", "sagr", "sagr_without_zeros", "n_zero", "ccc", "n"} <= affect
    assert set(document["baselines"]) == {"classification", "regression"}
    assert document["data"]["split"] == "test"
    assert document["data"]["excluded"] == {"expression outside 0..7": 1}


def test_nothing_in_the_result_depends_on_when_or_where(evaluate, data, tmp_path):
    evaluate()
    evaluate(out=tmp_path / "again" / "out")
    assert metrics(tmp_path) == metrics(tmp_path / "again")
    text = (tmp_path / "out" / "metrics.json").read_text()
    assert text == (tmp_path / "again" / "out" / "metrics.json").read_text()
    assert str(tmp_path) not in text


def test_a_second_run_asks_nothing_and_says_the_same(evaluate, gateway, capsys):
    evaluate()
    first, asked = capsys.readouterr().out, len(gateway.asked)
    assert evaluate() == 0
    assert capsys.readouterr().out == first
    assert len(gateway.asked) == asked


def test_all_pictures_are_scored_when_asked_for_and_the_output_says_what_that_means(
    evaluate, gateway, tmp_path, capsys
):
    assert evaluate("--split", "all") == 0
    assert len(gateway.asked) == COUNT
    assert "40 pictures: ALL pictures, those that trained the models included" in capsys.readouterr().out
    assert metrics(tmp_path)["data"]["split"] == "all"


def test_a_split_that_is_made_anew_is_said_and_saved_for_the_next_time(evaluate, data, tmp_path, capsys):
    evaluate()
    assert f"no split is saved in {data / 'split.csv'}" in capsys.readouterr().err
    assert (data / "split.csv").exists()
    evaluate(out=tmp_path / "again")
    assert "no split is saved" not in capsys.readouterr().err


def test_backbones_are_chosen_and_failures_are_told(evaluate, gateway, tmp_path, capsys):
    gateway.backbones = ("densenet121", "mobilenet_v2")
    gateway.replies = [problem(400, "invalid_image", "no picture")]
    assert evaluate("--backbones", "mobilenet_v2") == 0
    assert list(metrics(tmp_path)["models"]) == ["mobilenet_v2"]
    assert "mobilenet_v2: no answer for 1 pictures (invalid_image 1)" in capsys.readouterr().out


def test_when_nothing_is_answered_there_is_no_result(evaluate, gateway, tmp_path, capsys):
    gateway.replies = [problem(404, "unknown_model", "gone")] * 6
    assert evaluate() == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("affect-evaluate: not one picture was answered (unknown_model): ")
    assert not (tmp_path / "out" / "metrics.json").exists()


@pytest.mark.parametrize(
    ("changed", "flags", "sentence"),
    [
        ({"at": "http://127.0.0.1:9"}, [], "no gateway answers at http://127.0.0.1:9"),
        ({"at": "gateway"}, [], "'gateway' is not the URL of a gateway"),
        ({"of": "nowhere"}, [], "there is no data set nowhere"),
        ({}, ["--backbones", "densenet121"], "the gateway does not serve densenet121"),
        (
            {},
            ["--split-file", "nowhere.csv"],
            "there is no split nowhere.csv: name the one that affect-train has saved",
        ),
        ({"out": "/dev/null/out"}, [], "/dev/null/out cannot be used for the results"),
    ],
    ids=["no service", "no URL", "no data", "no such backbone", "no split", "no folder"],
)
def test_what_cannot_be_is_one_line_and_status_2(evaluate, gateway, tmp_path, capsys, changed, flags, sentence):
    assert evaluate(*flags, **changed) == 2
    assert f"affect-evaluate: {sentence}" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()
    assert gateway.asked == []


def test_the_folder_of_another_run_is_refused_before_anything_is_asked(evaluate, gateway, capsys):
    evaluate()
    asked = len(gateway.asked)
    gateway.version = 8
    assert evaluate() == 2
    assert "holds another run (other versions)" in capsys.readouterr().err.splitlines()[-1]
    assert len(gateway.asked) == asked


@pytest.mark.parametrize(
    "flags",
    [["--backbones", "vgg"], ["--backbones", ""], ["--timeout-s", "0"], ["--timeout-s", "nan"], ["--split", "train"]],
)
def test_a_flag_that_means_nothing_is_refused(evaluate, gateway, capsys, flags):
    with pytest.raises(SystemExit) as caught:
        evaluate(*flags)
    assert caught.value.code == 2


@pytest.fixture
def two_parts(evaluate, tmp_path):
    """A run in two parts."""
    parts = [tmp_path / f"part{number}" for number in (1, 2)]
    for number, part in enumerate(parts, start=1):
        assert evaluate("--shard", f"{number}/2", out=part) == 0
    return parts


def test_parts_that_are_merged_are_the_run_that_was_never_divided(evaluate, gateway, two_parts, tmp_path):
    asked = len(gateway.asked)
    assert asked == 6
    assert main(["merge", *map(str, two_parts), "--out", str(tmp_path / "merged")]) == 0
    assert len(gateway.asked) == asked
    evaluate()
    for name in ("metrics.json", "metrics.csv", "truth.jsonl"):
        assert (tmp_path / "merged" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()
    assert main(["merge", *map(str, two_parts), "--out", str(tmp_path / "merged")]) == 0


@pytest.mark.parametrize("count", [1, 2, 5])
def test_any_number_of_parts_one_of_them_killed_and_started_again_gives_the_same_result(evaluate, count, tmp_path):
    parts = [tmp_path / f"part{number}" for number in range(count)]
    for number, part in enumerate(parts, start=1):
        assert evaluate("--shard", f"{number}/{count}", out=part) == 0
    answers = parts[-1] / "predictions.jsonl"
    answers.write_bytes(answers.read_bytes()[:-20])
    for name in ("metrics.json", "metrics.csv", "report.html"):
        (parts[-1] / name).unlink()
    assert evaluate("--shard", f"{count}/{count}", out=parts[-1]) == 0
    assert main(["merge", *map(str, parts), "--out", str(tmp_path / "merged")]) == 0
    evaluate()
    for name in ("metrics.json", "metrics.csv", "truth.jsonl"):
        assert (tmp_path / "merged" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_parts_that_do_not_make_a_whole_are_refused(evaluate, two_parts, tmp_path, capsys):
    merged = ["--out", str(tmp_path / "merged")]
    assert main(["merge", str(two_parts[0]), *merged]) == 2
    assert "the parts are 1/2: merge each of the 2 once" in capsys.readouterr().err
    assert main(["merge", *[str(two_parts[0])] * 2, *merged]) == 2
    evaluate("--split", "all", "--shard", "2/2", out=tmp_path / "other")
    assert main(["merge", str(two_parts[0]), str(tmp_path / "other"), *merged]) == 2
    assert "another split" in capsys.readouterr().err
    torn = (two_parts[1] / "predictions.jsonl").read_bytes()
    (two_parts[1] / "predictions.jsonl").write_bytes(torn[:-20])
    assert main(["merge", *map(str, two_parts), *merged]) == 2
    assert "2 of 3 answers" in capsys.readouterr().err
    assert main(["merge", str(tmp_path / "nothing"), *merged]) == 2
    assert "is no run of affect-evaluate" in capsys.readouterr().err


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "a/b", "1/0"])
def test_a_part_that_cannot_be_is_refused(evaluate, shard, capsys):
    with pytest.raises(SystemExit) as ended:
        evaluate("--shard", shard)
    assert ended.value.code == 2
    assert "is no shard: give I/N, such as 1/4 to 4/4" in capsys.readouterr().err


def test_recorded_answers_are_scored_again_without_service_or_data(evaluate, gateway, data, tmp_path):
    evaluate()
    asked, before = len(gateway.asked), (tmp_path / "out" / "metrics.json").read_bytes()
    (tmp_path / "out" / "metrics.json").unlink()
    for picture in data.iterdir():
        picture.unlink()
    assert main(["score", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "metrics.json").read_bytes() == before
    assert len(gateway.asked) == asked


def test_every_score_has_its_interval_beside_it(evaluate, tmp_path):
    evaluate()
    scores = metrics(tmp_path)["models"]["mobilenet_v2"]
    for group in (scores["classification"], *scores["regression"].values()):
        for name, interval in group["ci95"].items():
            assert (interval is None) or interval[0] <= group[name] <= interval[1], name
    lines = (tmp_path / "out" / "metrics.csv").read_text().splitlines()
    assert lines[0] == "model,task,metric,value,low,high,n"
    assert any(line.startswith("mobilenet_v2,valence,ccc,") for line in lines)


def test_how_long_it_took_is_told_apart_from_the_scores(evaluate, tmp_path):
    evaluate()
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["timing"]["pictures_per_s"] > 0
    assert set(run["timing"]["latency_ms"]["mobilenet_v2"]) == {"p50", "p95", "p99", "mean"}
    assert run["sessions"][0]["answered"] == 6
    assert run["sessions"][0]["url"].startswith("http://127.0.0.1")


def test_the_report_is_one_file_that_needs_nothing_else(evaluate, tmp_path):
    evaluate()
    text = (tmp_path / "out" / "report.html").read_text()
    assert "http://" not in text.replace("http://127.0.0.1", "")
    assert "https://" not in text
    assert "<script" not in text
    plots = {path.stem for path in (tmp_path / "out" / "plots").iterdir()}
    wanted = {"confusion", "calibration", "roc", "precision_recall", "wrong", "surest_errors", "affect", "circumplex"}
    assert {f"mobilenet_v2_{name}" for name in wanted} <= plots
    assert text.count("data:image/png;base64,") == len(plots)
    for word in (
        "MobileNetV2",
        "baseline",
        "study: mobilenet_v2",
        "0.444",
        "Krippendorff",
        "data digest",
        "latency of",
        "Study: frozen ImageNet",
    ):
        assert word in text
