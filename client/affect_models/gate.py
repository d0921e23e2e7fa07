"""The gate of a promotion: it checks that the scored versions are the right ones, and that no condition fails."""

from collections.abc import Iterator, Mapping, Sequence

from affect_contract.comparison import (
    ComparedRun,
    Comparison,
    ComparisonDocument,
    Condition,
    ConditionNotJudged,
    contender_name,
    unfinished_message,
)
from affect_contract.models import MODELS


class RunsUnusable(Exception):
    """The runs to judge by cannot be used; the message says why, and what to do."""


def objections(
    document: ComparisonDocument,
    conditions: Sequence[Condition],
    *,
    canary: Mapping[str, int],
    stable: Mapping[str, int],
) -> list[str]:
    """Return the objections to a promotion, one sentence each; empty if there are none.

    Args:
        document: the comparison of the stable version's run with the canary's run on the same pictures.
        conditions: the conditions under which the promotion is refused.
        canary: the version that is to become stable, by model name.
        stable: the version that is stable now, by model name.

    Raises:
        RunsUnusable: a run is not finished, or a condition cannot be judged.
    """
    against, run = document.runs
    for one in (run, against):
        if not one.is_finished:
            raise RunsUnusable(unfinished_message(one.folder))
    found: list[str] = []
    for backbone in dict.fromkeys(MODELS[name].backbone for name in canary):
        lacking = next((one.folder for one in (run, against) if backbone not in one.versions), None)
        if lacking is not None:
            found.append(f"{lacking} has no scores of {backbone}: evaluate it, or leave it out with --backbones")
            continue
        mismatches = [*_mismatches(run, backbone, {**stable, **canary}), *_mismatches(against, backbone, stable)]
        found += mismatches or _failures(_comparison(document, backbone), conditions)
    return found


def _mismatches(run: ComparedRun, backbone: str, wanted: Mapping[str, int]) -> Iterator[str]:
    """Yield a sentence for each version that answered in a run but is not the wanted one."""
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
