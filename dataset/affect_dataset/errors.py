"""The error of every data set that cannot be used."""


class DatasetError(Exception):
    """A data set cannot be used as it is; the text is a sentence for the user."""
