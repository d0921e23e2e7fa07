"""What goes wrong in training through no fault of the code."""


class TrainingError(Exception):
    """A run that cannot start or go on; the text is one sentence for the user."""
