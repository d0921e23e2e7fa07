"""Faults around the gateway, caused on purpose, and its recovery from each of them."""
