"""The retry budget: how many calls may be sent a second time."""

from typing import Final

_EARNED_BY_A_CALL: Final = 0.1
_MOST_SAVED: Final = 10.0


class RetryBudget:
    """Allows retries of a tenth of the calls, at most ten in a burst, so that retries never double the load."""

    def __init__(self) -> None:
        self._saved = 1.0

    def earn(self) -> None:
        """Count a call, which earns a tenth of a retry."""
        self._saved = min(_MOST_SAVED, self._saved + _EARNED_BY_A_CALL)

    def spend(self) -> bool:
        """Take one retry from the budget, and return whether there was one."""
        if self._saved < 1.0:
            return False
        self._saved -= 1.0
        return True
