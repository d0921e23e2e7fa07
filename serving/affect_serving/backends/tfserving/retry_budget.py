"""How many calls may be sent a second time."""

from typing import Final

_EARNED_BY_A_CALL: Final = 0.1
_MOST_SAVED: Final = 10.0


class RetryBudget:
    """A tenth of the calls, and no burst of more than ten: when all calls fail, retries do not double the load."""

    def __init__(self) -> None:
        self._saved = 1.0

    def earn(self) -> None:
        """Count a call."""
        self._saved = min(_MOST_SAVED, self._saved + _EARNED_BY_A_CALL)

    def spend(self) -> bool:
        """Take one retry, if there is one."""
        if self._saved < 1.0:
            return False
        self._saved -= 1.0
        return True
