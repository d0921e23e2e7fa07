"""The gateway itself, independent of any transport and of any model runtime."""
