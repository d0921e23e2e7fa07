"""Build requests of the gRPC API and parse the responses; the clients only send them."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, cast
from urllib.parse import urlsplit

import grpc
import pydantic

from affect_client.errors import ServiceUnreachable
from affect_client.loopback import is_loopback
from affect_client.options import bearer_authorization
from affect_contract.connection_texts import says_not_connected
from affect_contract.errors import AffectError, DeadlineExceeded, ErrorCode, InvalidRequest, TooLarge
from affect_contract.headers import CODE_METADATA, REQUEST_ID_METADATA, RETRY_AFTER_METADATA
from affect_contract.messages import prediction_from_proto
from affect_contract.proto.affect.v1 import affect_pb2
from affect_contract.schemas import Prediction

SCHEMES: Final = ("grpc", "grpcs")
SECURE_SCHEME: Final = "grpcs"

_OPTIONS: Final = (
    # The gateway decides how large a message may be.
    ("grpc.max_send_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.min_reconnect_backoff_ms", 2_000),
    ("grpc.keepalive_time_ms", 30_000),
    # Only the client's own policy retries (affect_client.retry).
    ("grpc.enable_retries", 0),
)


class Address:
    """The address of a gateway's gRPC API, parsed from its URL.

    Raises:
        ServiceUnreachable: ``url`` is not a gRPC URL.
    """

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as exc:
            raise _not_an_address(url) from exc
        extra = "@" in parts.netloc or parts.path.strip("/") or parts.query or parts.fragment
        if parts.scheme not in SCHEMES or not parts.hostname or not port or extra:
            raise _not_an_address(url)
        self.url = url
        self.target = parts.netloc
        self.secure = parts.scheme == SECURE_SCHEME
        self._host = parts.hostname

    def credentials(self, root_certificates: bytes | None) -> grpc.ChannelCredentials | None:
        """Return the credentials of a TLS channel; None for an address without TLS.

        Raises:
            ValueError: certificates are given for an address without TLS.
        """
        if self.secure:
            return grpc.ssl_channel_credentials(root_certificates)
        if root_certificates is not None:
            raise ValueError(f"root_certificates are for {SECURE_SCHEME}://, and {self.url} is without TLS")
        return None

    @property
    def options(self) -> list[tuple[str, Any]]:
        """The options of the channel; loopback addresses are never reached through a proxy."""
        return [*_OPTIONS, ("grpc.enable_http_proxy", int(not is_loopback(self._host)))]


def _not_an_address(url: str) -> ServiceUnreachable:
    return ServiceUnreachable(
        f"{url!r} is not the address of a gateway's gRPC API: give one like grpc://127.0.0.1:9090"
    )


def predict_request(
    image: bytes, backbone: str | None, version: int | None, label: str | None
) -> affect_pb2.PredictRequest:
    """Build the request for one picture.

    Raises:
        InvalidRequest: both a version and a label are given, or a value does not fit its field.
    """
    if version is not None and label is not None:
        raise InvalidRequest("give a version or a label, not both")
    try:
        return affect_pb2.PredictRequest(image=image, backbone=backbone or "", version=version, label=label)
    except ValueError as exc:
        raise InvalidRequest(f"no message can hold the backbone, version or label given: {exc}") from exc


def metadata(api_key: str | None) -> tuple[tuple[str, str], ...]:
    """Return the metadata of every call, which carries the API key if there is one."""
    return (("authorization", bearer_authorization(api_key)),) if api_key else ()


def prediction(response: affect_pb2.PredictResponse, address: Address) -> Prediction:
    """Parse the prediction in a response.

    Raises:
        ServiceUnreachable: the response does not follow the contract, so no gateway wrote it.
    """
    try:
        return prediction_from_proto(response)
    except (pydantic.ValidationError, ValueError) as exc:
        raise _not_a_gateway(address, "with an answer that is not a gateway's") from exc


def translate_error(error: grpc.RpcError, address: Address, timeout_s: float) -> AffectError | ServiceUnreachable:
    """Translate the error of a failed call into an error of this package."""
    status, details = error.code(), error.details() or ""
    trailers = dict(cast("Iterable[tuple[str, Any]]", error.trailing_metadata() or ()))
    if trailers.get(CODE_METADATA) in set(ErrorCode):
        return _gateway_error(trailers, details)
    if status is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceeded(
            f"{address.url} did not answer within {timeout_s:g} s: allow more time, or ask for less at once"
        )
    if status is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in details:
        return TooLarge("the picture is larger than the gateway takes in a message: see its AFFECT_MAX_IMAGE_BYTES")
    if status is grpc.StatusCode.UNAVAILABLE:
        return ServiceUnreachable(
            f"no gateway answers at {address.url} ({details}): start one with affect-serve, or check the address",
            never_connected=says_not_connected(details),
        )
    return _not_a_gateway(address, f"{status.name} ({details})")


def _gateway_error(trailers: Mapping[str, Any], details: str) -> AffectError:
    wait_ms = str(trailers.get(RETRY_AFTER_METADATA, ""))
    return AffectError.by_code[ErrorCode(trailers[CODE_METADATA])](
        details,
        request_id=trailers.get(REQUEST_ID_METADATA),
        retry_after_s=int(wait_ms) / 1000 if wait_ms.isdecimal() else None,
    )


def _not_a_gateway(address: Address, what: str) -> ServiceUnreachable:
    return ServiceUnreachable(f"{address.url} answered {what}, not as an Affect gateway does: check the address")
