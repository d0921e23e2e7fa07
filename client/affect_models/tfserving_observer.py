"""Observe through TensorFlow Serving which versions have loaded, at each server behind a name."""

import socket
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

import grpc

from affect_client.loopback import is_loopback
from affect_contract import tfserving
from affect_contract.versions import ModelState
from affect_registry.observers import Unobservable

Result = TypeVar("Result")

_CALL_S: Final = 5.0
_OPTIONS: Final = (
    # Model servers are on the local network, which a proxy named by the environment does not reach.
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)


class TfServingObserver:
    """One TensorFlow Serving, observed through its gRPC port.

    Args:
        address: the gRPC address, HOST:PORT.
    """

    knows_every_model = True

    def __init__(self, address: str) -> None:
        self.name = f"TensorFlow Serving at {address}"
        channel = grpc.insecure_channel(address, options=_OPTIONS)
        self._calls: dict[tfserving.Method, Callable[..., Any]] = {
            method: channel.unary_unary(
                method.path,
                request_serializer=method.request.SerializeToString,
                response_deserializer=method.response.FromString,
            )
            for method in (tfserving.GET_MODEL_STATUS, tfserving.GET_MODEL_METADATA)
        }

    def states(self, names: Iterable[str]) -> Mapping[str, ModelState]:
        """See `Observer`."""
        try:
            return {name: state for name in names if (state := self._answer(tfserving.model_state(name)))}
        except grpc.RpcError as exc:
            raise Unobservable(
                f"{self.name} does not say what it serves ({exc.code().name}: {exc.details()}): name the gRPC port of "
                "one that runs"
            ) from exc

    def _answer(self, questions: tfserving.Questions[Result]) -> Result:
        response = None
        try:
            while True:
                response = self._call(questions.send(response))
        except StopIteration as end:
            result: Result = end.value
            return result

    def _call(self, question: tfserving.Question) -> Any:
        try:
            return self._calls[question.method](question.request, timeout=_CALL_S)
        except grpc.RpcError as exc:
            if exc.code().name in question.absent_statuses:
                return None
            raise


def tfserving_observers(target: str) -> list[TfServingObserver]:
    """Return an observer for each server behind HOST:PORT: a headless Service's name has an address for every pod.

    Raises:
        Unobservable: ``target`` is not an address, or the name cannot be resolved.
    """
    host, _, port = target.rpartition(":")
    if not host or not port.isdecimal():
        raise Unobservable(f"{target!r} is not HOST:PORT: give one like tfserving:8500")
    if is_loopback(host.strip("[]")):
        return [TfServingObserver(target)]
    try:
        found: list[Any] = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except OSError as exc:
        raise Unobservable(f"{host} cannot be found ({exc}): name a host that runs TensorFlow Serving") from exc
    # A pod may have IPv4 and IPv6 addresses, and by default the server listens on IPv4 only.
    family = min((one[0] for one in found), key=lambda family: family != socket.AF_INET)
    addresses = dict.fromkeys(one[4][0] for one in found if one[0] == family)
    return [TfServingObserver(f"[{one}]:{port}" if ":" in one else f"{one}:{port}") for one in addresses]
