"""``affect-evaluate compare``: compare runs, and fail if a condition holds."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, cast

from affect_contract.atomic_files import write_json
from affect_contract.comparison import (
    COMPARISON_FILE,
    ComparedRun,
    Comparison,
    ComparisonDocument,
    Condition,
    ConditionNotJudged,
)
from affect_evaluation.comparison.cost import Cost, cost_of
from affect_evaluation.comparison.differences import Contender, compare, contenders
from affect_evaluation.errors import EvaluationError
from affect_evaluation.remarks import print_remark
from affect_evaluation.run.manifest import read_timing

_PASSED, _FAILED = 0, 1
_NONE: Final = "-"


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit status: 1 if a condition holds.

    Raises:
        EvaluationError: the runs cannot be compared, or a condition cannot be judged.
    """
    found = contenders(options.runs)
    pairs = list(_pairs(found))
    comparisons = [compare(*pair) for pair in pairs]
    costs = _costs(pairs, options.models)
    for comparison in comparisons:
        print("\n".join(_lines(comparison, costs)), end="\n\n")  # noqa: T201
    if options.out:
        _write(options.out, _document(comparisons, costs, [_compared_run(folder, found) for folder in options.runs]))
    failures = _failures(comparisons, options.fail_if)
    for failure in failures:
        print_remark(failure)
    return _FAILED if failures else _PASSED


def _pairs(found: Sequence[Contender]) -> Iterator[tuple[Contender, Contender]]:
    """Yield each model after its base: the same backbone in the first run, else the first model of all."""
    first = {one.backbone: one for one in found if one.folder == found[0].folder}
    for one in found[1:]:
        base = found[0] if one.folder == found[0].folder else first.get(one.backbone, found[0])
        yield base, one


def _costs(pairs: Sequence[tuple[Contender, Contender]], models: Path | None) -> dict[str, Cost]:
    compared = [one for pair in pairs for one in pair]
    return {one.name: cost_of(one.folder, one.backbone, one.answers.versions, models) for one in compared}


def _failures(comparisons: Sequence[Comparison], conditions: Sequence[Condition]) -> list[str]:
    try:
        judged = [condition.failure(one) for one in comparisons for condition in conditions]
    except ConditionNotJudged as exc:
        raise EvaluationError(str(exc)) from exc
    return [failure for failure in judged if failure]


def _lines(comparison: Comparison, costs: Mapping[str, Cost]) -> Iterator[str]:
    yield f"{comparison.other} against {comparison.base}"
    yield f"  {'':34}{'before':>10}{'after':>10}{'change':>10}   95 % interval"
    for one in comparison.differences:
        ends = f"{one.ci95[0]:+.4f} to {one.ci95[1]:+.4f}" if one.ci95 else _NONE
        mark = "  *" if one.is_real else ""
        numbers = f"{_number(one.before):>10}{_number(one.after):>10}{_number(one.change, '+.4f'):>10}"
        yield f"  {f'{one.task}.{one.metric}':34}{numbers}   {ends}{mark}"
    before, after = comparison.coverage.before, comparison.coverage.after
    yield f"  {'coverage':34}{before:>10.4f}{after:>10.4f}{after - before:>+10.4f}"
    for name, pair in _cost_rows(costs[comparison.base], costs[comparison.other]):
        yield f"  {name:34}{_number(pair[0], ',.1f'):>10}{_number(pair[1], ',.1f'):>10}"
    yield (
        f"  expressions that changed: {len(comparison.changed):,}, mended {len(comparison.mended):,}, "
        f"spoilt {len(comparison.spoilt):,}"
    )
    yield "  * the interval excludes 0, so that other pictures would show the same direction"


def _cost_rows(before: Cost, after: Cost) -> Iterator[tuple[str, tuple[float | None, float | None]]]:
    for name in before:
        yield name, (before[name], after[name])  # type: ignore[literal-required]


def _number(value: float | None, form: str = ".4f") -> str:
    return _NONE if value is None else format(value, form)


def _write(folder: Path, document: ComparisonDocument) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / COMPARISON_FILE, document.model_dump())
    except OSError as exc:
        raise EvaluationError(f"{folder} cannot be written: {exc.strerror}") from exc


def _document(
    comparisons: Sequence[Comparison], costs: Mapping[str, Cost], runs: Sequence[ComparedRun]
) -> ComparisonDocument:
    by_name = {name: cast("dict[str, float | None]", cost) for name, cost in costs.items()}
    return ComparisonDocument(comparisons=tuple(comparisons), costs=by_name, runs=tuple(runs))


def _compared_run(folder: Path, found: Sequence[Contender]) -> ComparedRun:
    versions = {one.backbone: one.answers.versions for one in found if one.folder == folder}
    return ComparedRun(folder=str(folder), is_finished=bool(read_timing(folder)), versions=versions)
