"""Traffic splitting: which requests the canary version answers."""

import hashlib
from typing import Final

from affect_contract.errors import AffectError
from affect_contract.versions import CANARY
from affect_serving.core.backend import Catalog, Selector
from affect_serving.core.routing import route

ON_CANARY: Final = Selector(label=CANARY)
_HASHES: Final = 2**64


class CanaryShare:
    """Sends a share of the requests that name neither a version nor a label to the canary.

    Args:
        percent: the share, from 0 to 100.
    """

    def __init__(self, percent: float) -> None:
        self._limit = percent / 100 * _HASHES

    def selector(self, catalog: Catalog, backbone: str, selector: Selector, request_id: str) -> Selector:
        """Return the canary's selector if the request belongs to the canary's share, else ``selector``.

        Every gateway decides alike for the same request id.
        """
        if selector != Selector() or not self._is_chosen(request_id) or not _can_replace_stable(catalog, backbone):
            return selector
        return ON_CANARY

    def _is_chosen(self, request_id: str) -> bool:
        return bool(self._limit) and int.from_bytes(hashlib.sha256(request_id.encode()).digest()[:8]) < self._limit


def _can_replace_stable(catalog: Catalog, backbone: str) -> bool:
    """Return whether there is a canary that can answer now, for all tasks that the stable version answers."""
    try:
        stable = route(catalog, backbone, Selector())
        canary = route(catalog, backbone, ON_CANARY)
    except AffectError:
        return False
    return {task for model in canary for task in model.tasks} >= {task for model in stable for task in model.tasks}
