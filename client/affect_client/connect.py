"""The client that a URL asks for."""

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
    """A client of the gateway at ``url``: over gRPC for ``grpc://`` and ``grpcs://``, else over HTTP.

    Raises:
        ServiceUnreachable: it is not the URL of a gateway.
        ValueError: an option is out of range, or of no use for that URL.
    """
    kind = GrpcClient if is_rpc(url) else Client
    return kind(url, timeout_s=timeout_s, retries=retries, api_key=api_key, root_certificates=root_certificates)


def connect_async(
    url: str,
    *,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    retries: int = DEFAULT_RETRIES,
    api_key: str | None = None,
    root_certificates: bytes | None = None,
) -> AsyncClient | AsyncGrpcClient:
    """`connect` for asyncio."""
    kind = AsyncGrpcClient if is_rpc(url) else AsyncClient
    return kind(url, timeout_s=timeout_s, retries=retries, api_key=api_key, root_certificates=root_certificates)


def is_rpc(url: str) -> bool:
    """Whether a URL asks for gRPC."""
    return url.partition("://")[0].lower() in calls.SCHEMES
