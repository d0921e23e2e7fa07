"""The tables of the HTML report: all models beside baselines and study, and one model by expression."""

from collections.abc import Mapping
from typing import Any, Final

from affect_contract.outputs import SCALAR_NAMES
from affect_evaluation.scoring.scores import ModelScores, TaskScores
from affect_evaluation.scoring.study import STUDY_TABLE

_NONE: Final = "-"
_EXPRESSION: Final = {
    "accuracy": "accuracy", "f1_macro": "F1, macro", "cohen_kappa": "Cohen's kappa",
    "krippendorff_alpha": "Krippendorff's alpha", "auc_roc_macro": "AUC-ROC", "auc_pr_macro": "AUC-PR",
    "expected_calibration_error": "ECE",
}  # fmt: skip
_AFFECT: Final = {"rmse": "RMSE", "mae": "MAE", "corr": "CORR", "sagr": "SAGR", "ccc": "CCC"}

Table = dict[str, Any]


def all_models(models: Mapping[str, ModelScores], baselines: TaskScores) -> list[Table]:
    """Return a table for expressions and one for each scalar output, as the template takes them."""
    return [
        _table("Expression", _EXPRESSION, ("classification",), models, baselines),
        *(_table(name.capitalize(), _AFFECT, ("regression", name), models, baselines) for name in SCALAR_NAMES),
    ]


def per_class(scores: ModelScores) -> list[list[str]]:
    """Return a row of scores for each expression; empty if the model predicted none."""
    own = scores.get("classification")
    if own is None:
        return []
    return [
        [label, f"{round(one['prevalence'] * own['n']):,}"]
        + [_number(one[name]) for name in ("precision", "recall", "f1", "auc_roc", "auc_pr", "prevalence")]
        for label, one in own["per_class"].items()
    ]


def _table(
    title: str,
    metrics: Mapping[str, str],
    path: tuple[str, ...],
    models: Mapping[str, ModelScores],
    baselines: TaskScores,
) -> Table:
    rows = [_row(name, _at(scores, path), metrics, is_reference=False) for name, scores in models.items()]
    rows.append(_row("baseline", _at(baselines, path), metrics, is_reference=True))
    rows += [
        _row(f"study: {name}", at, metrics, is_reference=True)
        for name, figures in STUDY_TABLE.items()
        if (at := _at({"regression": figures}, path))
    ]
    return {"title": title, "columns": list(metrics.values()), "rows": rows}


def _at(scores: Mapping[str, Any], path: tuple[str, ...]) -> Mapping[str, Any]:
    for part in path:
        scores = scores.get(part, {})
    return scores


def _row(name: str, scores: Mapping[str, Any], metrics: Mapping[str, str], *, is_reference: bool) -> dict[str, Any]:
    intervals = scores.get("ci95", {})
    cells = [{"value": _number(scores.get(key)), "interval": _interval(intervals.get(key))} for key in metrics]
    return {"name": name, "cells": cells, "is_reference": is_reference}


def _number(value: float | None) -> str:
    # Adding zero turns the minus zero of a rounded tiny number into a plain one.
    return _NONE if value is None else f"{round(value, 3) + 0.0:.3f}"


def _interval(ends: list[float] | None) -> str:
    return f"{_number(ends[0])} to {_number(ends[1])}" if ends else ""
