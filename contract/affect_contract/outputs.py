"""Every output of a network, in one table: signatures, answers, messages, evaluation and plots loop over it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from affect_contract.labels import AFFECT_MAX, AFFECT_MIN, LABELS


class Task(StrEnum):
    """What a head is trained for."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"


@dataclass(frozen=True)
class Output:
    """One output, float32 [n, *shape]."""

    name: str
    """In signatures, answers, messages and metrics."""
    task: Task
    """The head that gives it."""
    shape: tuple[int, ...]
    """Of one picture's value; () for a scalar."""
    low: float
    high: float
    """Every value lies in [low, high]."""
    initial: str
    """What heads its columns where there is little room."""

    @property
    def is_scalar(self) -> bool:
        """Whether it is one number a picture, scored by RMSE, MAE, CORR, SAGR and CCC; else it is a distribution."""
        return self.shape == ()


PROBABILITIES: Final = "probabilities"
"""The distribution over `labels.Expression`, in id order; each row sums to 1."""
VALENCE: Final = "valence"
"""From -1, displeased, to 1, pleased."""
AROUSAL: Final = "arousal"
"""From -1, calm, to 1, excited."""

OUTPUTS: Final = {
    output.name: output
    for output in (
        Output(PROBABILITIES, Task.CLASSIFICATION, (len(LABELS),), 0.0, 1.0, "P"),
        Output(VALENCE, Task.REGRESSION, (), AFFECT_MIN, AFFECT_MAX, "V"),
        Output(AROUSAL, Task.REGRESSION, (), AFFECT_MIN, AFFECT_MAX, "A"),
    )
}
"""By name. A regression head gives its scalars in this order, as columns."""

SCALARS: Final = tuple(output for output in OUTPUTS.values() if output.is_scalar)
"""The outputs that are one number a picture, in the order of their columns."""

SCALAR_NAMES: Final = tuple(output.name for output in SCALARS)


def outputs_of(task: Task) -> tuple[Output, ...]:
    """The outputs of a task's head, in order."""
    return tuple(output for output in OUTPUTS.values() if output.task is task)
