"""Fuzzing: what is fuzzed, with which bytes to begin, and how long."""

import os

FACTOR = int(os.environ.get("AFFECT_FUZZ", "1"))


def examples(short: int) -> int:
    """The number of examples, where a run among all other tests has ``short``."""
    return FACTOR * short
