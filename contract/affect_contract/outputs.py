"""The table of a network's outputs, over which signatures, answers, messages, evaluation and plots loop."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from affect_contract.labels import AFFECT_MAX, AFFECT_MIN, LABELS


class Task(StrEnum):
    """The task that a head of the network is trained for."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"


@dataclass(frozen=True)
class Output:
    """One output of a network, float32 [n, *shape]."""

    name: str
    """Its name in signatures, answers, messages and metrics."""
    task: Task
    """The task of the head that has this output."""
    shape: tuple[int, ...]
    """The shape of the value for one picture; () for a scalar."""
    low: float
    high: float
    """Every value lies in [low, high]."""
    initial: str
    """The letter that stands for it in narrow tables and plots."""

    @property
    def is_scalar(self) -> bool:
        """Whether it is one number per picture, scored by RMSE, MAE, CORR, SAGR and CCC; if not, a distribution."""
        return self.shape == ()


PROBABILITIES: Final = "probabilities"
"""The probability of each `labels.Expression`, in the order of their ids; each row sums to 1."""
VALENCE: Final = "valence"
"""How pleased the face looks, from -1, displeased, to 1, pleased."""
AROUSAL: Final = "arousal"
"""How excited the face looks, from -1, calm, to 1, excited."""

OUTPUTS: Final = {
    output.name: output
    for output in (
        Output(PROBABILITIES, Task.CLASSIFICATION, (len(LABELS),), 0.0, 1.0, "P"),
        Output(VALENCE, Task.REGRESSION, (), AFFECT_MIN, AFFECT_MAX, "V"),
        Output(AROUSAL, Task.REGRESSION, (), AFFECT_MIN, AFFECT_MAX, "A"),
    )
}
"""The outputs by name. The columns of a regression head are its scalars, in this order."""

SCALARS: Final = tuple(output for output in OUTPUTS.values() if output.is_scalar)
"""The outputs that are one number per picture, in the order of their columns."""

SCALAR_NAMES: Final = tuple(output.name for output in SCALARS)


def outputs_of(task: Task) -> tuple[Output, ...]:
    """Return the outputs of a task's head, in order."""
    return tuple(output for output in OUTPUTS.values() if output.task is task)
