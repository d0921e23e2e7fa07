"""Write `report.html`, one file that opens offline, and its plots as PNG files."""

import base64
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import jinja2
from matplotlib.figure import Figure

from affect_contract.atomic_files import write_atomically
from affect_contract.backbones import BACKBONES
from affect_evaluation.errors import EvaluationError
from affect_evaluation.report import picture_grids, plots
from affect_evaluation.report.html_tables import all_models, per_class
from affect_evaluation.run.answers import Answers
from affect_evaluation.run.manifest import read_sessions, read_timing
from affect_evaluation.run.result import INTERVALS, Result, write_result
from affect_evaluation.run.truth import Truth, complete_rows, expression_ids, scalar_values
from affect_evaluation.scoring.scores import ModelScores
from affect_evaluation.scoring.study import SOURCE

REPORT_FILE: Final = "report.html"
PLOTS_FOLDER: Final = "plots"

_HALF_PAGE_INCHES: Final = 8.0
"""Widest figure that is shown beside another."""

NamedFigures = Iterator[tuple[str, Figure]]


def write_result_and_report(folder: Path) -> Result:
    """Score the run in a folder, and write its result and its report.

    Raises:
        EvaluationError: there is no result, or it cannot be written.
    """
    result = write_result(folder)
    try:
        write_report(folder, result)
    except OSError as exc:
        raise EvaluationError(f"the report cannot be written to {folder}: {exc.strerror}") from exc
    return result


def write_report(folder: Path, result: Result) -> None:
    """Write the report and the plots of a run to its folder.

    Raises:
        OSError: a file cannot be written.
    """
    (folder / PLOTS_FOLDER).mkdir(exist_ok=True)
    models = [
        {
            "title": _title(name, scores),
            "failures": ", ".join(f"{count:,} ({code})" for code, count in scores["failures"].items()),
            "per_class": per_class(scores),
            "plots": [_saved(folder, f"{name}_{kind}", figure) for kind, figure in _figures(name, result)],
        }
        for name, scores in result.models.items()
    ]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__, "."), autoescape=True, undefined=jinja2.StrictUndefined
    )
    text = environment.get_template("report.html.j2").render(
        facts=result.truth.facts,
        scope=_scope(result.truth),
        intervals=INTERVALS,
        tables=all_models(result.models, result.baselines),
        study=SOURCE[0].upper() + SOURCE[1:],
        models=models,
        run=list(_run(folder, result)),
    )
    write_atomically(folder / REPORT_FILE, text)


def _figures(name: str, result: Result) -> NamedFigures:
    scores, answers = result.models[name], result.answers[name]
    title = BACKBONES[name].display_name
    yield from _expression_figures(scores, answers, result.truth, title)
    yield from _affect_figures(scores, answers, result.truth, title)


def _expression_figures(scores: ModelScores, answers: Answers, truth: Truth, title: str) -> NamedFigures:
    if "classification" not in scores:
        return
    expression_scores = scores["classification"]
    scored = complete_rows(answers.probabilities)
    true, probabilities = expression_ids(truth.samples)[scored], answers.probabilities[scored]
    yield "confusion", plots.confusion(expression_scores, f"{title}: expressions, true by predicted")
    yield "calibration", plots.reliability(true, probabilities, expression_scores, f"{title}: calibration")
    if expression_scores["auc_roc_macro"] is not None:
        yield (
            "roc",
            plots.roc(true, probabilities, expression_scores, f"{title}: ROC, each expression against the rest"),
        )
        yield (
            "precision_recall",
            plots.precision_recall(true, probabilities, expression_scores, f"{title}: precision and recall"),
        )
    right, wrong = picture_grids.sample_right_and_wrong(truth.samples, answers)
    most_confident = picture_grids.most_confident_errors(truth.samples, answers)
    grids = {
        "right": (right, f"{title}: right expressions, with confidence"),
        "wrong": (wrong, f"{title}: wrong expressions (above: the true one)"),
        "surest_errors": (most_confident, f"{title}: its most confident errors"),
    }
    for kind, (pictures, heading) in grids.items():
        if pictures:
            yield kind, picture_grids.grid(pictures, heading)


def _affect_figures(scores: ModelScores, answers: Answers, truth: Truth, title: str) -> NamedFigures:
    if "regression" not in scores:
        return
    true_scalars = scalar_values(truth.samples)
    scored = complete_rows(answers.affect + true_scalars)
    true, predicted = true_scalars[scored], answers.affect[scored]
    yield "affect", plots.predicted_by_true(true, predicted, scores["regression"], f"{title}: valence and arousal")
    ids = expression_ids(truth.samples)[scored]
    yield "circumplex", plots.circumplex(ids, true, predicted, f"{title}: the plane of valence and arousal")
    pictures = picture_grids.largest_scalar_errors(truth.samples, answers)
    yield "farthest_off", picture_grids.grid(pictures, f"{title}: valence and arousal farthest off (above: annotated)")


def _saved(folder: Path, name: str, figure: Figure) -> dict[str, Any]:
    buffer = io.BytesIO()
    plots.save(figure, buffer)
    (folder / PLOTS_FOLDER / f"{name}.png").write_bytes(buffer.getvalue())
    png = base64.b64encode(buffer.getvalue()).decode()
    return {"title": name.replace("_", " "), "png": png, "wide": figure.get_figwidth() > _HALF_PAGE_INCHES}


def _title(name: str, scores: ModelScores) -> str:
    versions = ", ".join(f"{model} version {version}" for model, version in scores["versions"].items())
    return f"{BACKBONES[name].display_name} ({versions or 'no answers'})"


def _scope(truth: Truth) -> str:
    if truth.facts["split"] == "all":
        return "ALL pictures of the data set, those that trained the models included."
    return f"The {truth.facts['split']} split of the data set, asked through the running service."


def _run(folder: Path, result: Result) -> Iterator[tuple[str, str]]:
    facts = result.truth.facts
    yield "data digest", facts["data_digest"]
    yield "split", f"{facts['split']}, seed {facts['split_seed']}, fractions {facts['fractions']}"
    for reason, count in facts["excluded"].items():
        yield f"left out: {reason}", f"{count:,}"
    for name, scores in result.models.items():
        covered = scores["coverage"]
        yield f"coverage of {name}", f"{covered['answered']:,} of {covered['asked']:,} ({covered['share']:.1%})"
    measured = read_timing(folder)
    for name, latency in measured.get("latency_ms", {}).items():
        yield f"latency of {name}", _latency(latency)
    if measured.get("pictures_per_s"):
        yield "throughput", f"{measured['pictures_per_s']:.0f} pictures/s"
    for one in read_sessions(folder):
        yield "session", f"{one['answered']:,} answers from {one['url']}, {one['started']}, {one['host']}"


def _latency(latency: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value:.1f} ms" for name, value in latency.items())
