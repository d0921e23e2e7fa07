"""Asking a running gateway for the answers of a run."""
