"""The training loop and all that an epoch consists of."""
