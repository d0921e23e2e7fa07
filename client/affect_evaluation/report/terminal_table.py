"""Format the result of a run as a table for a terminal."""

from collections.abc import Mapping
from typing import Any, Final

from affect_contract.outputs import SCALARS
from affect_evaluation.scoring.scores import ModelScores, TaskScores
from affect_evaluation.scoring.study import SOURCE, STUDY_TABLE

_METRICS: Final = ("rmse", "corr", "sagr", "ccc")
_DIMENSIONS: Final = {scalar.name: scalar.initial for scalar in SCALARS}
_WIDTH: Final = 8
_NONE: Final = "-"


def table(models: Mapping[str, ModelScores], baselines: TaskScores) -> str:
    """Return a row for each model, the baseline and the study, and the source of the study's figures."""
    columns = ["accuracy", *(f"{metric.upper()} {letter}" for letter in _DIMENSIONS.values() for metric in _METRICS)]
    rows = [(f"{name} {_versions(scores)}", _values(scores)) for name, scores in models.items()]
    rows.append(("baseline: majority class, mean", _values(baselines)))
    rows += [(f"study: {name}*", _values({"regression": figures})) for name, figures in STUDY_TABLE.items()]
    width = max(len(name) for name, _ in rows)
    lines = [" " * width + "".join(f"  {column:>{_WIDTH}}" for column in columns)]
    lines += [f"{name:{width}}" + "".join(f"  {_cell(value):>{_WIDTH}}" for value in values) for name, values in rows]
    return "\n".join([*lines, f"* {SOURCE}"])


def _versions(scores: ModelScores) -> str:
    numbers = sorted(set(scores["versions"].values()))
    return f"(version {', '.join(map(str, numbers))})" if numbers else "(no answers)"


def _values(scores: Mapping[str, Any]) -> list[float | None]:
    accuracy = scores.get("classification", {}).get("accuracy")
    affect = scores.get("regression", {})
    return [accuracy, *(affect.get(part, {}).get(metric) for part in _DIMENSIONS for metric in _METRICS)]


def _cell(value: float | None) -> str:
    # Adding zero turns the minus zero of a rounded tiny number into a plain one.
    return _NONE if value is None else format(round(value, 4) + 0.0, ".4f")
