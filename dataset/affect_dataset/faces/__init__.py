"""Synthetic faces, with which every part of the project works on a machine that has no data set."""
