"""The settings of TensorFlow Serving: its batching and monitoring files, and its command line."""

from pathlib import Path, PurePosixPath
from typing import Final

from google.protobuf import text_format
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import Int64Value

from affect_contract.atomic_files import write_atomically
from affect_contract.proto.tfserving.v1 import server_files_pb2
from affect_contract.signatures import ALLOWED_BATCH_SIZES, MAX_BATCH_SIZE
from affect_registry.store import CONFIG_FILE

BATCHING_FILE: Final = "batching.config"
MONITORING_FILE: Final = "monitoring.config"
METRICS_PATH: Final = "/monitoring/prometheus/metrics"
GRPC_PORT: Final = 8500
REST_PORT: Final = 8501

_BATCH_THREADS: Final = 4
"""Batches that run at the same time; they share TensorFlow's own threads, of which there are as many as cores."""
CONFIG_POLL_S: Final = 1
"""Seconds between two readings of `models.config` by the server."""
_LOAD_THREADS: Final = 2
_CONNECTION_AGE: Final = "grpc.max_connection_age_ms=30000,grpc.max_connection_age_grace_ms=10000"
"""Gateways look for new servers only when a connection ends, so the server ends each after half a minute; calls under
way on it then have as long as a request has by default."""
_SPARE_THREADS: Final = 8
"""Threads beside those that answer: one waits for the next call, others serve gateways' status calls and probes."""


def batching_parameters() -> server_files_pb2.BatchingParameters:
    """Return the settings by which the server joins single pictures into batches.

    A batch does not wait to be filled: that would delay a lone picture, and under load the queue fills batches anyway.
    The queue is short, as many batches as can run, so that a request that would be answered too late is refused.
    """
    return server_files_pb2.BatchingParameters(
        max_batch_size=Int64Value(value=MAX_BATCH_SIZE),
        batch_timeout_micros=Int64Value(value=0),
        max_enqueued_batches=Int64Value(value=_BATCH_THREADS),
        num_batch_threads=Int64Value(value=_BATCH_THREADS),
        allowed_batch_sizes=ALLOWED_BATCH_SIZES,
    )


def monitoring_config() -> server_files_pb2.MonitoringConfig:
    """Return the settings that offer Prometheus metrics on the REST port."""
    return server_files_pb2.MonitoringConfig(
        prometheus_config=server_files_pb2.PrometheusConfig(enable=True, path=METRICS_PATH)
    )


def write_missing_files(root: Path) -> None:
    """Write the settings files that a models directory lacks; existing ones may have been edited, and stay."""
    for name, content in _default_files().items():
        if not (root / name).exists():
            write_atomically(root / name, text_format.MessageToString(content))


def flags(mount: PurePosixPath, *, in_flight: int, port: int = GRPC_PORT, rest_port: int = REST_PORT) -> dict[str, str]:
    """Return the flags of `tensorflow_model_server`, by name.

    Args:
        mount: the absolute path of the models directory on the server.
        in_flight: calls that all gateways together may have under way; each occupies a thread of the server, and a call
            that finds no free one fails.
        port: the port of gRPC.
        rest_port: the port of REST, which also offers the metrics.
    """
    return {
        "port": str(port),
        "rest_api_port": str(rest_port),
        "model_config_file": str(mount / CONFIG_FILE),
        "model_config_file_poll_wait_seconds": str(CONFIG_POLL_S),
        # When the server starts, it reads the labels before any version is loaded.
        "allow_version_labels_for_unavailable_models": "true",
        "enable_batching": "true",
        "batching_parameters_file": str(mount / BATCHING_FILE),
        "monitoring_config_file": str(mount / MONITORING_FILE),
        "grpc_max_threads": str(in_flight + _SPARE_THREADS),
        "grpc_channel_arguments": _CONNECTION_AGE,
        # Without threads of its own, the loading of a version delays the models that are being served.
        "num_load_threads": str(_LOAD_THREADS),
        "enable_grpc_healthcheck_service": "true",
        # The profiler would answer anyone who can reach the port.
        "enable_profiler": "false",
    }


def _default_files() -> dict[str, Message]:
    return {BATCHING_FILE: batching_parameters(), MONITORING_FILE: monitoring_config()}
