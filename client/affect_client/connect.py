"""Create the HTTP or gRPC client that fits a URL's scheme."""

from affect_client.http.client import AsyncClient, Client
from affect_client.options import DEFAULT_RETRIES, DEFAULT_TIMEOUT_S
from affect_client.rpc import calls
from affect_client.rpc.client import AsyncGrpcClient, GrpcClient


def connect(
    url: str,
    *,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    retries: int = DEFAULT_RETRIES,
    api_key: str | None = None,
    root_certificates: bytes | None = None,
) -> Client | GrpcClient:
    """Return a client of the gateway at ``url``: over gRPC for ``grpc://`` and ``grpcs://``, else over HTTP.

    Raises:
        ServiceUnreachable: ``url`` is not the URL of a gateway.
        ValueError: an option is out of range, or does not apply to that URL.
    """
    kind = GrpcClient if is_grpc_url(url) else Client
    return kind(url, timeout_s=timeout_s, retries=retries, api_key=api_key, root_certificates=root_certificates)


def connect_async(
    url: str,
    *,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    retries: int = DEFAULT_RETRIES,
    api_key: str | None = None,
    root_certificates: bytes | None = None,
) -> AsyncClient | AsyncGrpcClient:
    """Return the asyncio counterpart of the client that `connect` returns."""
    kind = AsyncGrpcClient if is_grpc_url(url) else AsyncClient
    return kind(url, timeout_s=timeout_s, retries=retries, api_key=api_key, root_certificates=root_certificates)


def is_grpc_url(url: str) -> bool:
    """Return whether a URL's scheme is ``grpc`` or ``grpcs``."""
    return url.partition("://")[0].lower() in calls.SCHEMES
