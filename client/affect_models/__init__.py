"""``affect-models``: show what a models directory serves, and change it while it is served."""
