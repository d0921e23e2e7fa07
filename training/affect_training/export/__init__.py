"""Trained networks as SavedModels that TensorFlow Serving and the embedded runtime both read."""
