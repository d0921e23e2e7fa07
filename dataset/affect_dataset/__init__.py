"""Labelled pictures: layouts, exclusions, the split, and synthetic faces."""
