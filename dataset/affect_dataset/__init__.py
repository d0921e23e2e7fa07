"""Data sets of labelled pictures: reading and checking them, splitting them, and drawing synthetic ones."""
