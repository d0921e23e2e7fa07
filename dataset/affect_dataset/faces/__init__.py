"""Synthetic faces, so that every part of the project works where there is no data set."""
