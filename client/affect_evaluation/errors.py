"""What goes wrong in an evaluation through no fault of the code."""


class EvaluationError(Exception):
    """A job that cannot start or go on; the text is one sentence for the user."""
