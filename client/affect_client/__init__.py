"""Clients of the gateway, and the offline evaluation job."""

from affect_client.errors import ServiceUnreachable
from affect_client.http import DEFAULT_TIMEOUT_S, DEFAULT_URL, AsyncClient, Client

__all__ = ["DEFAULT_TIMEOUT_S", "DEFAULT_URL", "AsyncClient", "Client", "ServiceUnreachable"]
