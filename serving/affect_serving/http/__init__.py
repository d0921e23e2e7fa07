"""The HTTP API: a thin layer over `affect_serving.core`, the twin of `affect_serving.rpc`."""
