"""Whether a canary's scores let it become stable: the runs are those of the versions, and no condition fails."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from affect_contract.models import MODELS
from affect_evaluation.comparison.differences import Condition, Contender, compare, contenders
from affect_evaluation.errors import EvaluationError
from affect_evaluation.run.folder import timing


def objections(
    run: Path, against: Path, conditions: Sequence[Condition], *, canary: Mapping[str, int], stable: Mapping[str, int]
) -> list[str]:
    """What speaks against a promotion, a sentence each; empty where nothing does.

    Args:
        run: folder of the canary's evaluation.
        against: folder of the stable version's, on the same pictures.
        conditions: when the promotion is refused.
        canary: the version that is to become stable, by model name.
        stable: the version that is stable now, by model name.

    Raises:
        EvaluationError: a folder is no finished run, the runs scored different pictures, or a condition cannot be
            judged.
    """
    for folder in (run, against):
        if not timing(folder):
            raise EvaluationError(f"{folder} is not finished: the same affect-evaluate command goes on with it")
    found = contenders([against, run])
    before = {one.backbone: one for one in found if one.folder == against}
    after = {one.backbone: one for one in found if one.folder == run}
    said: list[str] = []
    for backbone in dict.fromkeys(MODELS[name].backbone for name in canary):
        if backbone not in after or backbone not in before:
            where = run if backbone not in after else against
            said.append(f"{where} has no scores of {backbone}: evaluate it, or leave it out with --backbones")
            continue
        strangers = [*_others(after[backbone], {**stable, **canary}), *_others(before[backbone], stable)]
        said += strangers or _failures(before[backbone], after[backbone], conditions)
    return said


def _others(scored: Contender, wanted: Mapping[str, int]) -> Iterator[str]:
    """The versions that answered a run and are not those in question."""
    for name, version in scored.answers.versions.items():
        if wanted.get(name) != version:
            yield (
                f"{scored.folder} scored {name} version {version}, where {wanted.get(name, 'none of it')} is in "
                "question: evaluate again, with another --out"
            )


def _failures(before: Contender, after: Contender, conditions: Sequence[Condition]) -> list[str]:
    comparison = compare(before, after)
    return [
        f"{after.name} fails {condition.text!r} against {before.name}"
        for condition in conditions
        if condition.fails(comparison)
    ]
