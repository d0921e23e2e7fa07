"""A run's recorded answers as arrays, in the order of its pictures."""

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
    """One backbone's answers; row i belongs to picture i, and is NaN where there is none."""

    probabilities: Scores
    """float [n, 8], in id order."""
    affect: Scores
    """A column for each scalar output, float [n, 2]: valence, arousal."""
    versions: dict[str, int] = field(default_factory=dict)
    answered: set[int] = field(default_factory=set)
    failures: dict[int, str] = field(default_factory=dict)
    latencies_ms: list[float] = field(default_factory=list)
    """Of every answer, in the order they came."""

    @classmethod
    def none(cls, pictures: int) -> "Answers":
        """Before the first answer."""
        return cls(np.full((pictures, len(LABELS)), np.nan), np.full((pictures, len(SCALAR_NAMES)), np.nan))

    def add(self, index: int, recorded: RecordedAnswer) -> None:
        """Take in one recorded answer; a picture that was asked again counts as it did last.

        Raises:
            EvaluationError: another version answered than before.
        """
        if recorded.error is not None:
            self.failures[index] = recorded.error.code.value
        elif recorded.answer is not None:
            self.failures.pop(index, None)
            self.answered.add(index)
            self.latencies_ms.append(recorded.latency_ms)
            self._fill(index, recorded.answer)
            self._agree(recorded.versions)

    def _fill(self, index: int, answer: Prediction) -> None:
        if answer.probabilities is not None:
            # By name: the order of a JSON object means nothing.
            self.probabilities[index] = [answer.probabilities[label] for label in LABELS]
        scalars = [getattr(answer, name) for name in SCALAR_NAMES]
        if None not in scalars:
            self.affect[index] = scalars

    def _agree(self, versions: dict[str, int]) -> None:
        for name, version in versions.items():
            if self.versions.setdefault(name, version) != version:
                raise EvaluationError(
                    f"the recorded answers mix versions {self.versions[name]} and {version} of {name}: "
                    "no result may, so start again with another --out"
                )


def read_answers(predictions: Path, samples: Sequence[Sample]) -> dict[str, Answers]:
    """Every backbone's answers, by name.

    Args:
        predictions: the run's `predictions.jsonl`.
        samples: the pictures that were to be scored.

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
