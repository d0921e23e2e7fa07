"""The rows that were excluded from a data set, and the reasons."""

from enum import StrEnum
from pathlib import Path
from typing import NamedTuple


class Reason(StrEnum):
    """The reason why a row was excluded."""

    UNREADABLE = "unreadable picture"
    MISSING = "missing picture"
    UNANNOTATED = "missing annotation"
    PICKLED = "annotation is pickled"
    NOT_A_NUMBER = "annotation is not a number"
    EXPRESSION = "expression outside 0..7"
    AFFECT = "valence or arousal outside [-1, 1]"
    REPEATED = "identical to a validation or test picture"


class Exclusion(NamedTuple):
    """A row that was excluded, entirely or for one task."""

    id: str
    path: Path
    reason: Reason
    detail: str = ""

    @property
    def scope(self) -> str:
        """``row``, or ``regression`` if the row is still used for classification."""
        return "regression" if self.reason is Reason.AFFECT else "row"
