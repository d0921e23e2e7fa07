"""The gateway itself, without a transport and without a model runtime."""
