"""What a run is scored against: its pictures and their labels, kept in its folder so that it stands alone."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from affect_contract.atomic_files import write_atomically
from affect_contract.labels import LABELS, Expression
from affect_contract.outputs import SCALAR_NAMES
from affect_dataset.samples import Sample
from affect_evaluation.errors import EvaluationError

TRUTH_FILE: Final = "truth.jsonl"


@dataclass(frozen=True)
class Prior:
    """What is known of the labels without looking at a picture to be scored: the training split's."""

    majority: int | None
    """The AffectNet id of its most frequent expression (the lowest among equals); None where it has no picture."""
    means: tuple[float, float] | None
    """Its mean valence and arousal; None where none are annotated."""

    @classmethod
    def of(cls, training: Sequence[Sample]) -> "Prior":
        """That of some pictures."""
        counts = np.bincount(expressions(training), minlength=len(LABELS))
        pairs = affect(training)
        known = pairs[whole(pairs)]
        return cls(
            int(counts.argmax()) if len(training) else None,
            (float(known[:, 0].mean()), float(known[:, 1].mean())) if len(known) else None,
        )


@dataclass(frozen=True)
class Truth:
    """The pictures of a run, in the order of their ids, on which intervals depend."""

    samples: tuple[Sample, ...]
    prior: Prior
    facts: dict[str, Any]
    """Of the data: digest, split, seed, what was left out."""

    @classmethod
    def of(cls, samples: Iterable[Sample], prior: Prior, facts: dict[str, Any]) -> "Truth":
        """The truth about ``samples``."""
        ordered = tuple(sorted(samples, key=lambda sample: sample.id))
        return cls(ordered, prior, facts | {"pictures": len(ordered)})

    def write(self, folder: Path) -> None:
        """Save it, whole and atomic.

        Raises:
            OSError: it cannot be written.
        """
        head = {"facts": self.facts, "prior": {"majority": self.prior.majority, "means": self.prior.means}}
        rows = (
            {
                "id": one.id, "path": str(one.path.resolve()), "expression": int(one.expression),
                **{name: getattr(one, name) for name in SCALAR_NAMES}, "digest": one.digest,
            }
            for one in self.samples
        )  # fmt: skip
        write_atomically(folder / TRUTH_FILE, "".join(json.dumps(line) + "\n" for line in (head, *rows)))


def read_truth(folder: Path) -> Truth:
    """The truth that a run has saved.

    Raises:
        EvaluationError: there is none, or it is not what a run writes.
    """
    path = folder / TRUTH_FILE
    try:
        with path.open(encoding="utf-8") as lines:
            head = json.loads(next(lines, ""))
            samples = tuple(map(_sample, lines))
        means = head["prior"]["means"]
        return Truth(samples, Prior(head["prior"]["majority"], tuple(means) if means else None), head["facts"])
    except FileNotFoundError as exc:
        raise EvaluationError(f"{folder} is no run of affect-evaluate: it has no {TRUTH_FILE}") from exc
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise EvaluationError(f"{path} is not what a run writes: start again with another --out") from exc


def _sample(line: str) -> Sample:
    one = json.loads(line)
    expression = Expression(one["expression"])
    return Sample(one["id"], Path(one["path"]), expression, one["valence"], one["arousal"], one["digest"])


def whole(rows: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which rows [n, ...] have no gap, a NaN being one: bool [n]."""
    return np.asarray(~np.isnan(rows).any(axis=1))


def expressions(samples: Sequence[Sample]) -> NDArray[np.int64]:
    """AffectNet ids, int64 [n]."""
    return np.array([sample.expression for sample in samples], np.int64)


def affect(samples: Sequence[Sample]) -> NDArray[np.float64]:
    """A column for each scalar output, float64 [n, 2]: valence, arousal; NaN where a sample has none."""
    rows = [[getattr(sample, name) for name in SCALAR_NAMES] for sample in samples]
    return np.array(rows, np.float64).reshape(-1, len(SCALAR_NAMES))
