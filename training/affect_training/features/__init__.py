"""Features of a frozen backbone: computed once a picture, then read from a cache."""
