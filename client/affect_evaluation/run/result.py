"""Compute the result of a run from its folder alone, so that it can be computed again without the service."""

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from affect_contract.atomic_files import write_atomically, write_json
from affect_evaluation.errors import EvaluationError
from affect_evaluation.run.answers import Answers, read_answers
from affect_evaluation.run.manifest import write_timing
from affect_evaluation.run.predictions import PREDICTIONS_FILE
from affect_evaluation.run.truth import Truth, read_truth
from affect_evaluation.scoring.bootstrap import LEVEL, RESAMPLES, SEED
from affect_evaluation.scoring.scores import ModelScores, TaskScores, score, score_baselines

METRICS_FILE: Final = "metrics.json"
TABLE_FILE: Final = "metrics.csv"

_COLUMNS: Final = ("model", "task", "metric", "value", "low", "high", "n")
INTERVALS: Final = {
    "level": LEVEL,
    "resamples": RESAMPLES,
    "seed": SEED,
    "method": "percentile bootstrap over pictures",
}


@dataclass(frozen=True)
class Result:
    """The scores of a run, with the labels and answers that they are computed from."""

    truth: Truth
    answers: dict[str, Answers]
    models: dict[str, ModelScores]
    baselines: TaskScores


def write_result(folder: Path) -> Result:
    """Score the run in a folder, and write `metrics.json` and `metrics.csv` to it.

    Raises:
        EvaluationError: the folder holds no run, no picture was answered, or the result cannot be written.
    """
    truth = read_truth(folder)
    predictions = folder / PREDICTIONS_FILE
    answers = read_answers(predictions, truth.samples)
    models = score(answers, truth.samples)
    _require_answers(models, predictions)
    result = Result(truth, answers, models, score_baselines(truth.prior, truth.samples))
    try:
        write_json(folder / METRICS_FILE, _document(result))
        write_atomically(folder / TABLE_FILE, _table(models))
        write_timing(folder, {name: one.latencies_ms for name, one in answers.items()})
    except OSError as exc:
        raise EvaluationError(f"the result cannot be written to {folder}: {exc.strerror}") from exc
    return result


def _require_answers(models: Mapping[str, ModelScores], predictions: Path) -> None:
    if not any(scores["coverage"]["answered"] for scores in models.values()):
        codes = sorted({code for scores in models.values() for code in scores["failures"]})
        raise EvaluationError(
            f"not one picture was answered ({', '.join(codes) or 'none was asked'}): see {predictions}"
        )


def _document(result: Result) -> dict[str, Any]:
    return {
        "models": result.models,
        "baselines": result.baselines,
        "data": result.truth.facts,
        "intervals": INTERVALS,
    }


def _table(models: Mapping[str, ModelScores]) -> str:
    """Format every score with its interval as a row of CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for name, scores in models.items():
        if "classification" in scores:
            writer.writerows(_rows(name, "expression", scores["classification"]))
        for dimension, regression in scores.get("regression", {}).items():
            writer.writerows(_rows(name, dimension, regression))
    return text.getvalue()


def _rows(model: str, task: str, scores: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    for metric, value in scores.items():
        if metric != "n" and (value is None or isinstance(value, float)):
            low, high = scores["ci95"].get(metric) or (None, None)
            yield model, task, metric, value, low, high, scores["n"]
