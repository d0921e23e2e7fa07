"""Runs held against each other, and the gate that a comparison can be."""
