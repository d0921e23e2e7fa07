"""Load a run's recorded answers into arrays, in the order of its pictures."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from affect_contract.labels import LABELS
from affect_contract.outputs import SCALAR_NAMES
from affect_contract.schemas import Prediction
from affect_dataset.samples import Sample
from affect_evaluation.errors import EvaluationError
from affect_evaluation.run.predictions import RecordedAnswer, read_recorded_answers
from affect_evaluation.scoring.metrics import Scores


@dataclass
class Answers:
    """The answers of one backbone; row i belongs to picture i, and is NaN without an answer."""

    probabilities: Scores
    """float64 [n, 8], in the order of AffectNet ids."""
    affect: Scores
    """float64 [n, 2], a column for each scalar output: valence, arousal."""
    versions: dict[str, int] = field(default_factory=dict)
    answered: set[int] = field(default_factory=set)
    failures: dict[int, str] = field(default_factory=dict)
    latencies_ms: list[float] = field(default_factory=list)
    """Latency of every answer, in the order in which they came."""

    @classmethod
    def none(cls, pictures: int) -> "Answers":
        """Create the arrays for a number of pictures, without any answer."""
        return cls(np.full((pictures, len(LABELS)), np.nan), np.full((pictures, len(SCALAR_NAMES)), np.nan))

    def add(self, index: int, recorded: RecordedAnswer) -> None:
        """Add a recorded answer; of several answers to one picture, the last counts.

        Raises:
            EvaluationError: a model answered with another version than before.
        """
        if recorded.error is not None:
            self.failures[index] = recorded.error.code.value
        elif recorded.answer is not None:
            self.failures.pop(index, None)
            self.answered.add(index)
            self.latencies_ms.append(recorded.latency_ms)
            self._fill(index, recorded.answer)
            self._require_same_versions(recorded.versions)

    def _fill(self, index: int, answer: Prediction) -> None:
        if answer.probabilities is not None:
            # By name, since the order of keys in JSON means nothing.
            self.probabilities[index] = [answer.probabilities[label] for label in LABELS]
        scalars = [getattr(answer, name) for name in SCALAR_NAMES]
        if None not in scalars:
            self.affect[index] = scalars

    def _require_same_versions(self, versions: dict[str, int]) -> None:
        for name, version in versions.items():
            if self.versions.setdefault(name, version) != version:
                raise EvaluationError(
                    f"the recorded answers mix versions {self.versions[name]} and {version} of {name}: "
                    "no result may, so start again with another --out"
                )


def read_answers(predictions: Path, samples: Sequence[Sample]) -> dict[str, Answers]:
    """Read the answers of every backbone, by its name.

    Args:
        predictions: path of the run's `predictions.jsonl`.
        samples: the pictures of the run.

    Raises:
        EvaluationError: the file cannot be read, mixes versions, or names other pictures.
    """
    places = {sample.id: index for index, sample in enumerate(samples)}
    answers: dict[str, Answers] = {}
    for one in read_recorded_answers(predictions):
        if one.id not in places:
            raise EvaluationError(f"{predictions} holds the picture {one.id}, which is not to be scored: remove it")
        answers.setdefault(one.backbone, Answers.none(len(samples))).add(places[one.id], one)
    return dict(sorted(answers.items()))
