"""The error that training raises for what its user can mend."""


class TrainingError(Exception):
    """A run cannot start or continue; the text is one sentence that says why and what to do."""
