"""The result of a run as a table for a terminal."""

from collections.abc import Mapping
from typing import Any

from affect_client.evaluation.study import STUDY
from affect_contract.models import AROUSAL, VALENCE, Task

_METRICS = ("rmse", "corr", "sagr", "ccc")
_NAME_WIDTH = 38
_WIDTH = 8
_NONE = "-"


def table(models: Mapping[str, Any], baselines: Mapping[str, Any]) -> str:
    """Models, baselines and the study's figures, a row each."""
    columns = ["accuracy", *(f"{metric.upper()} {letter}" for letter in "VA" for metric in _METRICS)]
    lines = [f"{'':{_NAME_WIDTH}}" + "".join(f"{column:>{_WIDTH + 1}}" for column in columns)]
    lines += [_row(f"{name} {_versions(scored)}", scored) for name, scored in models.items()]
    lines.append(_row("baseline: majority class, mean", baselines))
    lines += [_row(f"study: {name}, 600 other pictures", {"regression": figures}) for name, figures in STUDY.items()]
    return "\n".join(lines)


def _versions(scored: Mapping[str, Any]) -> str:
    numbers = sorted(set(scored["versions"].values()))
    return f"(version {', '.join(map(str, numbers))})" if numbers else "(no answers)"


def _row(name: str, scored: Mapping[str, Any]) -> str:
    accuracy = scored.get(Task.CLASSIFICATION, {}).get("accuracy")
    figures = scored.get(Task.REGRESSION, {})
    values = [figures.get(part, {}).get(metric) for part in (VALENCE, AROUSAL) for metric in _METRICS]
    return f"{name:{_NAME_WIDTH}}" + "".join(_cell(value) for value in (accuracy, *values))


def _cell(value: float | None) -> str:
    # Adding zero turns the minus zero of a rounded tiny number into a plain one.
    return f"{_NONE if value is None else format(round(value, 4) + 0.0, '.4f'):>{_WIDTH + 1}}"
