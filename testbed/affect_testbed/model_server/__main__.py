"""Stand in for `tensorflow_model_server`: accept its flags, refuse unknown ones, and serve SavedModels.

It does not batch, warm up, or serve REST.
"""

import argparse
import sys
import threading
from pathlib import Path

from google.protobuf import text_format

from affect_contract.proto.tfserving.v1 import server_files_pb2
from affect_testbed.model_server.models_directory import ConfigRefused, ModelsDirectory
from affect_testbed.model_server.server import ModelServer, serve

IGNORED_FLAGS = (
    "enable_profiler", "enable_grpc_healthcheck_service", "num_load_threads", "grpc_channel_arguments",
    "rest_api_port", "file_system_poll_wait_seconds", "enable_model_warmup", "tensorflow_intra_op_parallelism",
    "tensorflow_inter_op_parallelism",
)  # fmt: skip
"""Flags of the real server that are accepted without effect."""


def main() -> int:
    """Serve until the process is killed, and reload the config when it changes."""
    options = parse()
    max_batch_size = read_max_batch_size(options)
    if options.monitoring_config_file:
        text_format.Parse(Path(options.monitoring_config_file).read_text(), server_files_pb2.MonitoringConfig())
    directory = ModelsDirectory(Path(options.model_config_file), max_batch_size)
    try:
        directory.read(first=True)
    except (ConfigRefused, OSError) as exc:
        print(f"Failed to start server. Error: {exc}", file=sys.stderr)
        return 255
    server = ModelServer(directory.models, max_threads=options.grpc_max_threads, max_batch_size=max_batch_size)
    grpc_server, port = serve(server, options.port)
    print(f"Running gRPC ModelServer at 127.0.0.1:{port} ...", file=sys.stderr, flush=True)
    stop = threading.Event()
    while options.model_config_file_poll_wait_seconds and not stop.wait(options.model_config_file_poll_wait_seconds):
        try:
            directory.read()
        except (ConfigRefused, OSError) as exc:
            print(f"Failed to reload the model config: {exc}", file=sys.stderr, flush=True)
    grpc_server.wait_for_termination()
    return 0


def parse() -> argparse.Namespace:
    """Parse the flags of the real server."""
    parser = argparse.ArgumentParser("tensorflow_model_server", allow_abbrev=False)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model_config_file", required=True)
    parser.add_argument("--model_config_file_poll_wait_seconds", type=int, default=0)
    parser.add_argument("--allow_version_labels_for_unavailable_models", choices=["true"], required=True)
    parser.add_argument("--enable_batching", choices=["true", "false"], default="false")
    parser.add_argument("--batching_parameters_file")
    parser.add_argument("--monitoring_config_file")
    parser.add_argument("--grpc_max_threads", type=int, default=8)
    for name in IGNORED_FLAGS:
        parser.add_argument(f"--{name}")
    return parser.parse_args()


def read_max_batch_size(options: argparse.Namespace) -> int:
    """Check the batching flags and return the largest batch that they allow."""
    if options.batching_parameters_file is None:
        return 2**31
    if options.enable_batching != "true":
        sys.exit("Failed to start server. Error: --batching_parameters_file without --enable_batching")
    text = Path(options.batching_parameters_file).read_text()
    parameters = text_format.Parse(text, server_files_pb2.BatchingParameters())
    sizes = list(parameters.allowed_batch_sizes)
    if sizes != sorted(set(sizes)) or sizes[-1:] != [parameters.max_batch_size.value]:
        sys.exit("Failed to start server. Error: allowed_batch_sizes must rise and end with max_batch_size")
    return int(parameters.max_batch_size.value)


if __name__ == "__main__":
    sys.exit(main())
