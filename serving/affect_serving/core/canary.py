"""Which requests try the canary out."""

import hashlib
from typing import Final

from affect_contract.errors import AffectError
from affect_contract.versions import CANARY
from affect_serving.core.backend import Catalog, Selector
from affect_serving.core.routing import route

ON_CANARY: Final = Selector(label=CANARY)
_HASHES: Final = 2**64


class CanaryShare:
    """Sends a share of the requests that ask for nothing in particular to the canary.

    Args:
        percent: of these requests, 0 to 100.
    """

    def __init__(self, percent: float) -> None:
        self._limit = percent / 100 * _HASHES

    def selector(self, catalog: Catalog, backbone: str, selector: Selector, request_id: str) -> Selector:
        """What is asked for in place of ``selector``; the same id goes the same way, on every gateway."""
        if selector != Selector() or not self._is_chosen(request_id) or not _stands_in(catalog, backbone):
            return selector
        return ON_CANARY

    def _is_chosen(self, request_id: str) -> bool:
        return bool(self._limit) and int.from_bytes(hashlib.sha256(request_id.encode()).digest()[:8]) < self._limit


def _stands_in(catalog: Catalog, backbone: str) -> bool:
    """Whether a canary is there, can answer, and says all that the stable version does."""
    try:
        stable = route(catalog, backbone, Selector())
        canary = route(catalog, backbone, ON_CANARY)
    except AffectError:
        return False
    return {task for model in canary for task in model.tasks} >= {task for model in stable for task in model.tasks}
