"""`truth.jsonl`, the ground truth of a run: its pictures and labels, kept so that it can be scored without the data."""

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
    """Statistics of the training split's labels, from which baselines predict without looking at pictures."""

    majority: int | None
    """AffectNet id of the most frequent expression (the lowest among equals); None without training pictures."""
    means: tuple[float, float] | None
    """Mean valence and arousal; None if no training picture is annotated with them."""

    @classmethod
    def of(cls, training: Sequence[Sample]) -> "Prior":
        """Compute the prior of the training pictures."""
        counts = np.bincount(expression_ids(training), minlength=len(LABELS))
        values = scalar_values(training)
        known = values[complete_rows(values)]
        return cls(
            int(counts.argmax()) if len(training) else None,
            (float(known[:, 0].mean()), float(known[:, 1].mean())) if len(known) else None,
        )


@dataclass(frozen=True)
class Truth:
    """The pictures of a run in the order of their ids, on which the bootstrap draws depend."""

    samples: tuple[Sample, ...]
    prior: Prior
    facts: dict[str, Any]
    """Facts about the data: digest, split, seed, excluded rows by reason."""

    @classmethod
    def of(cls, samples: Iterable[Sample], prior: Prior, facts: dict[str, Any]) -> "Truth":
        """Sort the samples by id, and add their number to the facts."""
        ordered = tuple(sorted(samples, key=lambda sample: sample.id))
        return cls(ordered, prior, facts | {"pictures": len(ordered)})

    def write(self, folder: Path) -> None:
        """Write the file atomically.

        Raises:
            OSError: the file cannot be written.
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
    """Read the ground truth of the run in a folder.

    Raises:
        EvaluationError: the folder holds no run, or the file is not what a run writes.
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


def complete_rows(rows: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which rows of an array [n, k] hold no NaN: bool [n]."""
    return np.asarray(~np.isnan(rows).any(axis=1))


def expression_ids(samples: Sequence[Sample]) -> NDArray[np.int64]:
    """Return the AffectNet ids of the samples' expressions: int64 [n]."""
    return np.array([sample.expression for sample in samples], np.int64)


def scalar_values(samples: Sequence[Sample]) -> NDArray[np.float64]:
    """Return the samples' annotations, float64 [n, 2]: valence, arousal; NaN where there is none."""
    rows = [[getattr(sample, name) for name in SCALAR_NAMES] for sample in samples]
    return np.array(rows, np.float64).reshape(-1, len(SCALAR_NAMES))
