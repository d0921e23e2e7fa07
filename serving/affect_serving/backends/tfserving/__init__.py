"""The TensorFlow Serving backend: it sends pictures to a model server over gRPC."""
