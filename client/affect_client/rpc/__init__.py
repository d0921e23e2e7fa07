"""Clients of the gateway's gRPC API."""
