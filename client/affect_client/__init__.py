"""Clients of the gateway, and the offline evaluation job."""
