"""Clients of the gateway, over HTTP and gRPC, for threads and for asyncio."""

from affect_client.connect import connect, connect_async
from affect_client.errors import ServiceUnreachable
from affect_client.http.client import DEFAULT_URL, AsyncClient, Client
from affect_client.options import DEFAULT_RETRIES, DEFAULT_TIMEOUT_S
from affect_client.predict_many import Answered
from affect_client.rpc.client import DEFAULT_ADDRESS, AsyncGrpcClient, GrpcClient

__all__ = [
    "DEFAULT_ADDRESS",
    "DEFAULT_RETRIES",
    "DEFAULT_TIMEOUT_S",
    "DEFAULT_URL",
    "Answered",
    "AsyncClient",
    "AsyncGrpcClient",
    "Client",
    "GrpcClient",
    "ServiceUnreachable",
    "connect",
    "connect_async",
]
