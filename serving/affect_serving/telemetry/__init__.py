"""The gateway's telemetry for operators: metrics, logs and traces."""
