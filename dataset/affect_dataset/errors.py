"""The error that a data set causes."""


class DatasetError(Exception):
    """A data set cannot be used as it is; the text is a sentence for the user."""
