"""Models run by TensorFlow Serving, asked over gRPC."""
