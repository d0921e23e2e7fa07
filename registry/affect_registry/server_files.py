"""What TensorFlow Serving reads beside `models.config`: its batching and monitoring files, and its command line."""

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
"""Batches that run at a time; TensorFlow's own threads, as many as cores, are shared between them."""
RELOAD_S: Final = 1
"""Seconds between two looks of the server at `models.config`."""
_LOAD_THREADS: Final = 2
_CONNECTION_AGE: Final = "grpc.max_connection_age_ms=30000,grpc.max_connection_age_grace_ms=10000"
"""Gateways look for new servers only when a connection ends; this ends each after half a minute, and what is under way
on it has as long as a request has by default."""
_SPARE_THREADS: Final = 8
"""Beside those that answer: one that waits for the next call, one for each gateway's look at the models, and probes."""


def batching_parameters() -> server_files_pb2.BatchingParameters:
    """How single pictures become batches.

    Nothing is waited for: that would cost a lone picture its time, and under load the queue fills batches anyway.
    The queue is short, as many batches as can run, so that what cannot be answered in time is refused at once.
    """
    return server_files_pb2.BatchingParameters(
        max_batch_size=Int64Value(value=MAX_BATCH_SIZE),
        batch_timeout_micros=Int64Value(value=0),
        max_enqueued_batches=Int64Value(value=_BATCH_THREADS),
        num_batch_threads=Int64Value(value=_BATCH_THREADS),
        allowed_batch_sizes=ALLOWED_BATCH_SIZES,
    )


def monitoring() -> server_files_pb2.MonitoringConfig:
    """Prometheus metrics, on the REST port."""
    return server_files_pb2.MonitoringConfig(
        prometheus_config=server_files_pb2.PrometheusConfig(enable=True, path=METRICS_PATH)
    )


def write_missing(root: Path) -> None:
    """Write the files that a models directory lacks; those that are there stay as somebody wanted them."""
    for name, content in _contents().items():
        if not (root / name).exists():
            write_atomically(root / name, text_format.MessageToString(content))


def flags(mount: PurePosixPath, *, in_flight: int, port: int = GRPC_PORT, rest_port: int = REST_PORT) -> dict[str, str]:
    """The flags of `tensorflow_model_server`, by name.

    Args:
        mount: the models directory as the server sees it, absolute.
        in_flight: calls that all gateways together may have under way; each takes a thread of the server, and one
            that finds none fails.
        port: of gRPC.
        rest_port: of REST, which also has the metrics.
    """
    return {
        "port": str(port),
        "rest_api_port": str(rest_port),
        "model_config_file": str(mount / CONFIG_FILE),
        "model_config_file_poll_wait_seconds": str(RELOAD_S),
        # At first start no version is loaded yet when its labels are read.
        "allow_version_labels_for_unavailable_models": "true",
        "enable_batching": "true",
        "batching_parameters_file": str(mount / BATCHING_FILE),
        "monitoring_config_file": str(mount / MONITORING_FILE),
        "grpc_max_threads": str(in_flight + _SPARE_THREADS),
        "grpc_channel_arguments": _CONNECTION_AGE,
        # Without threads of its own, loading a version holds up what is served.
        "num_load_threads": str(_LOAD_THREADS),
        "enable_grpc_healthcheck_service": "true",
        # The profiler answers anybody who reaches the port.
        "enable_profiler": "false",
    }


def _contents() -> dict[str, Message]:
    return {BATCHING_FILE: batching_parameters(), MONITORING_FILE: monitoring()}
