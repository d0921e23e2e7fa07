"""Which epoch of a training is the best, which is kept, and when to stop waiting for a better one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from affect_contract.outputs import Task
from affect_training.loop.validation import Epoch, mean_concordance
from affect_training.recipes.recipe import Watched

Score = Callable[[Epoch], float]
"""How good an epoch is; more is better."""


def least_loss(epoch: Epoch) -> float:
    """Score an epoch by its validation loss."""
    return -epoch["val_loss"]


SCORES: Final[dict[Watched, Score]] = {
    Watched.LOSS: least_loss,
    Watched.ACCURACY: lambda epoch: epoch[f"{Task.CLASSIFICATION}_val_accuracy"],
    Watched.CONCORDANCE: lambda epoch: mean_concordance(epoch, f"{Task.REGRESSION}_"),
}
"""Of a network with all its heads, by what is watched."""


@dataclass(frozen=True)
class EarlyStopping:
    """The choice of an epoch; by default the last, after all of them."""

    score: Score = least_loss
    patience: int = 0
    """Epochs without a better one after which training stops; 0 never stops it."""
    keeps_best: bool = False

    def best(self, history: Sequence[Epoch]) -> int:
        """The index of the best epoch; of several alike the last."""
        return max(range(len(history)), key=lambda number: (self.score(history[number]), number))

    def kept(self, history: Sequence[Epoch]) -> int:
        """The index of the epoch whose weights are kept."""
        return self.best(history) if self.keeps_best else len(history) - 1

    def stalled(self, history: Sequence[Epoch]) -> bool:
        """Whether the last ``patience`` epochs brought nothing better than those before."""
        scores = [self.score(epoch) for epoch in history]
        return 0 < self.patience < len(scores) and max(scores[-self.patience :]) <= max(scores[: -self.patience])
