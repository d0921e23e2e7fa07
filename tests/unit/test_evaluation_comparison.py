"""Runs against each other: differences in pairs, and a gate that fails on real drops alone."""

import json

import pytest

from affect_contract.comparison import ComparisonDocument, ConditionNotJudged, parse_condition
from affect_evaluation.__main__ import main
from affect_evaluation.comparison.differences import compare, contenders
from tests.unit.evaluation_runs import write_run
from tests.unit.evaluation_samples import write_samples

COUNT = 160


@pytest.fixture
def samples(tmp_path):
    return write_samples(tmp_path / "pictures", COUNT)


@pytest.fixture
def make_run(tmp_path, samples):
    """A run whose expressions are right with some chance, and whose valence has some noise."""

    def make(name, *, pictures=samples, **options):
        return write_run(tmp_path / name, pictures, **options)

    return make


def compared(*folders):
    found = contenders(folders)
    return compare(found[0], found[1])


def difference(comparison, task, metric):
    return next(one for one in comparison.differences if (one.task, one.metric) == (task, metric))


def test_a_run_does_not_differ_from_itself(make_run):
    comparison = compared(make_run("a"), make_run("b"))
    assert all(one.change == 0 and not one.is_real for one in comparison.differences if one.change is not None)
    assert comparison.changed == comparison.mended == comparison.spoilt == ()


def test_a_better_run_is_really_better(make_run):
    comparison = compared(make_run("a"), make_run("b", right=0.9, noise=0.05))
    for task, metric in (("expression", "accuracy"), ("valence", "ccc")):
        one = difference(comparison, task, metric)
        assert one.change > 0
        assert one.is_real
        assert one.ci95[0] <= one.change <= one.ci95[1]
    assert difference(comparison, "valence", "rmse").change < 0


def test_changed_pictures_are_named(make_run, samples):
    comparison = compared(make_run("a", right=0.0), make_run("b", right=1.0))
    assert set(comparison.changed) == set(comparison.mended) == {sample.id for sample in samples}
    assert comparison.spoilt == ()


def test_only_pictures_that_both_answered_are_compared_and_coverage_tells_the_rest(make_run):
    comparison = compared(make_run("a"), make_run("b", failures=40))
    assert (comparison.coverage.before, comparison.coverage.after) == (1.0, 0.75)
    assert all(one.change == 0 for one in comparison.differences if one.change is not None)
    assert parse_condition("coverage < -0.1").fails(comparison)
    assert not parse_condition("coverage < -0.3").fails(comparison)


@pytest.mark.parametrize(
    ("condition", "fails"),
    [
        ("valence.ccc < -0.02", True),
        ("valence.ccc < -0.9", False),
        ("expression.accuracy < -0.01", True),
        ("arousal.rmse > 0.01", True),
        ("arousal.rmse > 5", False),
        ("valence.ccc > 0", False),
    ],
)
def test_the_gate_fails_on_a_drop_beyond_its_limit(make_run, condition, fails):
    comparison = compared(make_run("a", right=0.9, noise=0.05), make_run("b", right=0.3, noise=0.5))
    assert parse_condition(condition).fails(comparison) is fails


def test_the_gate_lets_a_drop_pass_that_other_pictures_would_not_show(make_run):
    comparison = compared(make_run("a", seed=0), make_run("b", seed=1))
    one = difference(comparison, "expression", "accuracy")
    assert not one.is_real
    assert not parse_condition(f"expression.accuracy {'<' if one.change < 0 else '>'} 0").fails(comparison)


@pytest.mark.parametrize("text", ["", "ccc < 0", "valence.ccc", "valence.ccc = 0", "coverage.x < 0", "mood.ccc < 0"])
def test_what_is_no_condition_is_refused_with_an_example(make_run, text, capsys):
    with pytest.raises(ValueError, match="give one like"):
        parse_condition(text)


def test_a_condition_on_a_score_that_is_not_there_is_not_passed_in_silence(make_run):
    with pytest.raises(ConditionNotJudged, match="cannot be judged"):
        parse_condition("valence.ccd < 0").fails(compared(make_run("a"), make_run("b")))


def test_the_command_tells_everything_and_its_status_is_the_gates(make_run, tmp_path, capsys):
    good, bad = make_run("good", right=0.9, noise=0.05), make_run("bad", right=0.3, noise=0.5)
    gate = ["--fail-if", "valence.ccc < -0.02"]
    assert main(["compare", str(good), str(bad), *gate, "--out", str(tmp_path / "out")]) == 1
    printed = capsys.readouterr()
    for word in ("against", "valence.ccc", "95 % interval", "latency p50, ms", "coverage", "mended"):
        assert word in printed.out
    assert "fails 'valence.ccc < -0.02'" in printed.err
    document = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert document["comparisons"][0]["other"] == f"{bad}:mobilenet_v2"
    assert main(["compare", str(bad), str(good), *gate]) == 0


def test_the_document_has_what_other_programs_read_in_it_and_is_what_the_contract_says(make_run, tmp_path):
    folders = [make_run("one"), make_run("two", version=2), make_run("half", version=2, finished=False)]
    assert main(["compare", *map(str, folders), "--out", str(tmp_path / "out")]) == 0
    document = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert list(document) == ["comparisons", "costs", "runs"]
    first = document["comparisons"][0]
    assert list(first) == [
        "base", "other", "versions", "differences", "coverage", "mended", "spoilt", "changed",
    ]  # fmt: skip
    assert first["versions"] == {"base": {"mobilenet_v2_affect": 1}, "other": {"mobilenet_v2_affect": 2}}
    assert list(first["differences"][0]) == ["task", "metric", "before", "after", "change", "ci95", "is_real"]
    assert list(document["costs"]) == [f"{folder}:mobilenet_v2" for folder in folders]
    assert document["runs"] == [
        {"folder": str(folder), "is_finished": finished, "versions": {"mobilenet_v2": {"mobilenet_v2_affect": version}}}
        for folder, finished, version in zip(folders, (True, True, False), (1, 2, 2), strict=True)
    ]
    assert ComparisonDocument.model_validate(document).model_dump(mode="json") == document


def test_the_models_of_one_run_are_held_against_its_first_and_runs_backbone_by_backbone(make_run, capsys):
    both = ("densenet121", "mobilenet_v2")
    one, two = make_run("one", backbones=both), make_run("two", backbones=both)
    assert main(["compare", str(one)]) == 0
    assert f"{one}:mobilenet_v2 against {one}:densenet121" in capsys.readouterr().out
    main(["compare", str(one), str(two)])
    assert f"{two}:mobilenet_v2 against {one}:mobilenet_v2" in capsys.readouterr().out


def test_what_cannot_be_compared_is_one_line_and_status_2(make_run, tmp_path, samples, capsys):
    one = make_run("one")
    assert main(["compare", str(one)]) == 2
    assert "there is one model only" in capsys.readouterr().err
    assert main(["compare", str(one), str(make_run("other", pictures=samples[:50]))]) == 2
    assert "scored different pictures" in capsys.readouterr().err
    assert main(["compare", str(one), str(tmp_path / "none")]) == 2
    assert "is no run of affect-evaluate" in capsys.readouterr().err
    assert main(["compare", str(make_run("begun", finished=False))]) == 2
    assert "is not finished: the same affect-evaluate command goes on with it" in capsys.readouterr().err
    assert main(["compare", str(one), str(make_run("two")), "--models", str(tmp_path)]) == 2
    assert "name the models directory that was served" in capsys.readouterr().err
