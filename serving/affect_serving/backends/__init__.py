"""The backends of the gateway: one module for each runtime that can run its models."""

import sys

# OpenVINO reports its import to Google Analytics, and writes into the home directory, where it finds this package.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
