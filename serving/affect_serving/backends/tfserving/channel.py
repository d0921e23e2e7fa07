"""The gRPC channel to TensorFlow Serving: its target, its credentials and its options."""

import json
from pathlib import Path
from typing import Final

import grpc

from affect_serving.settings import Settings
from affect_serving.tls_files import pem

_SERVICE_CONFIG: Final = json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})
"""Spreads calls over all addresses behind the host name: those of a headless Service are its pods."""
OPTIONS: Final = (
    ("grpc.service_config", _SERVICE_CONFIG),
    # A model server is in the same network: a proxy from the environment variables would not reach it.
    ("grpc.enable_http_proxy", 0),
    # Find a server that comes back within a second, and one that has moved by asking DNS again.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.min_reconnect_backoff_ms", 2_000),
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    # Give up a connection on which nothing comes back; the server tolerates pings while calls are under way.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # gRPC sends no keepalive while a lost ping of its bandwidth estimation is outstanding, by default for a minute.
    ("grpc.http2.ping_timeout_ms", 5_000),
    # Requests are as large as their batch, answers are small.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", 4 * 2**20),
)


def open_channel(settings: Settings) -> grpc.aio.Channel:
    """Return a channel to the server that the settings name; it connects, and reconnects, by itself.

    Raises:
        ServingError: a TLS file cannot be read or used.
    """
    target = f"dns:///{settings.tfserving}"
    if not settings.tfserving_tls:
        return grpc.aio.insecure_channel(target, options=OPTIONS)
    options = list(OPTIONS)
    if settings.tfserving_server_name:
        options.append(("grpc.ssl_target_name_override", settings.tfserving_server_name))
    return grpc.aio.secure_channel(target, _credentials(settings), options=options)


def _credentials(settings: Settings) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        _pem(settings.tfserving_ca, "tfserving_ca"),
        _pem(settings.tfserving_key, "tfserving_key"),
        _pem(settings.tfserving_cert, "tfserving_cert"),
    )


def _pem(path: Path | None, setting: str) -> bytes | None:
    return None if path is None else pem(path, setting)
