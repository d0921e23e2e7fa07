"""The layouts that a data set can have on disk; each has a reader that yields the same kind of rows."""
