"""Clients of the gateway's HTTP API."""
