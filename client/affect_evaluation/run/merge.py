"""Merge the parts of a run that was split with ``--shard`` into one folder."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from affect_dataset.shards import WHOLE, Shard, parse_shard
from affect_evaluation.errors import EvaluationError
from affect_evaluation.run.manifest import Identity, add_sessions, claim, digest_of, read_identity, read_sessions
from affect_evaluation.run.predictions import PREDICTIONS_FILE, AnswerLog
from affect_evaluation.run.truth import Truth, read_truth


def merge(parts: Sequence[Path], out: Path) -> None:
    """Merge the run in the folders ``parts`` into ``out``; merging the same parts again changes nothing.

    Raises:
        EvaluationError: the parts belong to different runs, or one is missing, given twice, or not finished.
    """
    identities = [read_identity(part) for part in parts]
    _require_complete(parts, identities)
    truths = [read_truth(part) for part in parts]
    truth = Truth.of((sample for part in truths for sample in part.samples), truths[0].prior, truths[0].facts)
    for part, part_truth in zip(parts, truths, strict=True):
        _require_finished(part, part_truth, identities[0])
    claim(out, identities[0] | {"shard": str(WHOLE), "pictures": digest_of(truth.samples)})
    truth.write(out)
    _join_predictions(parts, out / PREDICTIONS_FILE)
    if not read_sessions(out):
        add_sessions(out, [session for part in parts for session in read_sessions(part)])


def _require_complete(parts: Sequence[Path], identities: Sequence[Identity]) -> None:
    for part, one in zip(parts, identities, strict=True):
        for key in ("data_digest", "split", "versions"):
            if one[key] != identities[0][key]:
                raise EvaluationError(
                    f"{part} has another {key.replace('_', ' ')} than {parts[0]}: merge one run's parts"
                )
    shards = [parse_shard(one["shard"]) for one in identities]
    wanted = {Shard(number, shards[0].count) for number in range(1, shards[0].count + 1)}
    if len(set(shards)) < len(shards) or set(shards) != wanted:
        given = ", ".join(sorted(map(str, shards)))
        raise EvaluationError(f"the parts are {given}: merge each of the {shards[0].count} once")


def _require_finished(part: Path, truth: Truth, run: Identity) -> None:
    with AnswerLog(part / PREDICTIONS_FILE) as log:
        settled = len(log.settled())
    wanted = len(truth.samples) * len(run["versions"])
    if settled < wanted:
        raise EvaluationError(f"{part} has {settled:,} of {wanted:,} answers: finish it with the command that began it")


def _join_predictions(parts: Sequence[Path], target: Path) -> None:
    partial = target.with_suffix(".partial")
    with partial.open("wb") as joined:
        for part in parts:
            with (part / PREDICTIONS_FILE).open("rb") as file:
                shutil.copyfileobj(file, joined)
    partial.replace(target)
