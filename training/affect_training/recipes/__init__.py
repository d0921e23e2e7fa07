"""Recipes: every figure that decides how a network is trained, in code and in TOML files."""
