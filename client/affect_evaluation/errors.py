"""The error of the evaluation that its user can mend."""


class EvaluationError(Exception):
    """The job cannot start or go on; the message is one sentence for the user."""
