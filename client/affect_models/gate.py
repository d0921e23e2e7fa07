"""The gate of a promotion: the runs are those of the versions, and no condition fails on their comparison."""

from collections.abc import Iterator, Mapping, Sequence

from affect_contract.comparison import (
    ComparedRun,
    Comparison,
    ComparisonDocument,
    Condition,
    ConditionNotJudged,
    contender_name,
    not_finished,
)
from affect_contract.models import MODELS


class RunsUnusable(Exception):
    """The runs that a gate judges by cannot be used; the text says why and what to do."""


def objections(
    document: ComparisonDocument,
    conditions: Sequence[Condition],
    *,
    canary: Mapping[str, int],
    stable: Mapping[str, int],
) -> list[str]:
    """Return the objections to a promotion, a sentence each; empty where there are none.

    Args:
        document: the comparison of two runs: of the stable version, and of the canary on the same pictures.
        conditions: when the promotion is refused.
        canary: the version that is to become stable, by model name.
        stable: the version that is stable now, by model name.

    Raises:
        RunsUnusable: a run is not finished, or a condition cannot be judged.
    """
    against, run = document.runs
    for one in (run, against):
        if not one.is_finished:
            raise RunsUnusable(not_finished(one.folder))
    found: list[str] = []
    for backbone in dict.fromkeys(MODELS[name].backbone for name in canary):
        lacking = next((one.folder for one in (run, against) if backbone not in one.versions), None)
        if lacking is not None:
            found.append(f"{lacking} has no scores of {backbone}: evaluate it, or leave it out with --backbones")
            continue
        strangers = [*_strangers(run, backbone, {**stable, **canary}), *_strangers(against, backbone, stable)]
        found += strangers or _failures(_comparison(document, backbone), conditions)
    return found


def _strangers(run: ComparedRun, backbone: str, wanted: Mapping[str, int]) -> Iterator[str]:
    """Yield a sentence for each version that answered a run and is not the one in question."""
    for name, version in run.versions[backbone].items():
        if wanted.get(name) != version:
            yield (
                f"{run.folder} scored {name} version {version}, where {wanted.get(name, 'none of it')} is in "
                "question: evaluate again, with another --out"
            )


def _comparison(document: ComparisonDocument, backbone: str) -> Comparison:
    against, run = (contender_name(one.folder, backbone) for one in document.runs)
    for one in document.comparisons:
        if (one.base, one.other) == (against, run):
            return one
    raise RunsUnusable(f"{run} was not compared with {against}: name the folders of two runs")


def _failures(comparison: Comparison, conditions: Sequence[Condition]) -> list[str]:
    try:
        return [failure for condition in conditions if (failure := condition.failure(comparison))]
    except ConditionNotJudged as exc:
        raise RunsUnusable(str(exc)) from exc
