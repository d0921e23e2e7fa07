"""TensorFlow Serving asked what has become of versions, every server behind a name by itself."""

import socket
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import grpc

from affect_client.loopback import is_loopback
from affect_contract import tfserving
from affect_contract.proto.tfserving.v1 import serving_pb2 as pb
from affect_registry.observers import AVAILABLE, CannotSay, ModelState, VersionState
from affect_registry.store import CANARY, PREVIOUS, STABLE

_CALL_S: Final = 5.0
_LABELS: Final = (STABLE, CANARY, PREVIOUS)
_OPTIONS: Final = (
    # Model servers are neighbours; a proxy of the environment would not reach them.
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)


class TfServingWitness:
    """One server, by its gRPC port.

    Args:
        address: HOST:PORT.
    """

    knows_every_model = True

    def __init__(self, address: str) -> None:
        self.name = f"TensorFlow Serving at {address}"
        channel = grpc.insecure_channel(address, options=_OPTIONS)
        self._status: Callable[..., pb.GetModelStatusResponse] = channel.unary_unary(
            tfserving.GET_MODEL_STATUS,
            request_serializer=pb.GetModelStatusRequest.SerializeToString,
            response_deserializer=pb.GetModelStatusResponse.FromString,
        )
        self._metadata: Callable[..., pb.GetModelMetadataResponse] = channel.unary_unary(
            tfserving.GET_MODEL_METADATA,
            request_serializer=pb.GetModelMetadataRequest.SerializeToString,
            response_deserializer=pb.GetModelMetadataResponse.FromString,
        )

    def states(self, names: Iterable[str]) -> Mapping[str, ModelState]:
        """See `Witness`."""
        try:
            return {name: state for name in names if (state := self._state(name))}
        except grpc.RpcError as exc:
            raise CannotSay(
                f"{self.name} does not say what it serves ({exc.code().name}: {exc.details()}): name the gRPC port of "
                "one that runs"
            ) from exc

    def _state(self, name: str) -> ModelState | None:
        try:
            response = self._status(tfserving.status_request(name), timeout=_CALL_S)
        except grpc.RpcError as exc:
            if exc.code().name == tfserving.NOT_SERVED:
                return None
            raise
        versions = {
            one.version: VersionState(tfserving.state_name(one), tfserving.load_problem(name, one))
            for one in tfserving.present(response)
        }
        is_up = any(one.state == AVAILABLE for one in versions.values())
        return ModelState(versions, self._labels(name) if is_up else {})

    def _labels(self, name: str) -> dict[str, int]:
        """Version by label, from the only call that tells it: one that is made by label."""
        labels = {}
        for label in _LABELS:
            request = tfserving.metadata_request(tfserving.model_spec(name, label=label))
            try:
                response = self._metadata(request, timeout=_CALL_S)
            except grpc.RpcError as exc:
                if exc.code().name not in tfserving.NO_SUCH_LABEL:
                    raise
            else:
                labels[label] = response.model_spec.version.value
        return labels


def tfserving_witnesses(target: str) -> list[TfServingWitness]:
    """One for each server behind HOST:PORT: a headless Service's name has an address for every pod.

    Raises:
        CannotSay: the name is none, or nobody knows it.
    """
    host, _, port = target.rpartition(":")
    if not host or not port.isdecimal():
        raise CannotSay(f"{target!r} is not HOST:PORT: give one like tfserving:8500")
    if is_loopback(host.strip("[]")):
        return [TfServingWitness(target)]
    try:
        found: list[Any] = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except OSError as exc:
        raise CannotSay(f"{host} cannot be found ({exc}): name a host that runs TensorFlow Serving") from exc
    # The server listens on IPv4 alone unless it is told otherwise; a pod may have both kinds of address.
    family = min((one[0] for one in found), key=lambda family: family != socket.AF_INET)
    addresses = dict.fromkeys(one[4][0] for one in found if one[0] == family)
    return [TfServingWitness(f"[{one}]:{port}" if ":" in one else f"{one}:{port}") for one in addresses]
