"""A stand-in for TensorFlow Serving: its flags, its statuses and texts, and faults that are set from outside."""
