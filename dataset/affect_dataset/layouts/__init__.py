"""The layouts that a data set can have on disk, each read into the same rows."""
