"""Observe through a gateway which versions have loaded."""

from collections.abc import Iterable, Mapping
from typing import Final

from affect_client.connect import is_grpc_url
from affect_client.credentials import Credentials
from affect_client.errors import ServiceUnreachable
from affect_client.http.client import Client
from affect_contract.errors import AffectError
from affect_contract.schemas import ModelStatus
from affect_contract.versions import AVAILABLE, ModelState, VersionState
from affect_registry.observers import Unobservable

_TIMEOUT_S: Final = 5.0


class GatewayObserver:
    """A gateway, observed through its ``GET /models``.

    A gateway with embedded models runs the fused model or else the pair, so that it need not have every model.
    """

    knows_every_model = False

    def __init__(self, url: str, credentials: Credentials) -> None:
        self.name = url
        self._credentials = credentials
        if is_grpc_url(url):
            raise Unobservable(f"{url} lists no models: give the http:// address of the gateway")

    def states(self, names: Iterable[str]) -> Mapping[str, ModelState]:
        """See `Observer`."""
        try:
            with Client(self.name, timeout_s=_TIMEOUT_S, **self._credentials) as client:
                listed = client.models().models
        except (ServiceUnreachable, AffectError) as exc:
            raise Unobservable(f"{self.name} does not say what it serves: {exc}") from exc
        wanted = set(names)
        return {model.name: _model_state(model) for model in listed if model.name in wanted}


def _model_state(model: ModelStatus) -> ModelState:
    return ModelState(
        {one.version: VersionState(one.state, one.problem or "") for one in model.versions},
        {label: one.version for one in model.versions for label in one.labels if one.state == AVAILABLE},
    )
