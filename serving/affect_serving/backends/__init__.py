"""The runtimes that can stand behind the gateway."""
