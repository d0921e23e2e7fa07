"""The gRPC API: a thin skin over `affect_serving.core`, the twin of `affect_serving.http`."""
