"""``affect-models``: what a models directory serves, and changes to it while it is served."""
