"""The owner of the models directory: what it holds, what is served of it, and every change. It asks no network."""
