"""Data set in, SavedModels and curves out."""
