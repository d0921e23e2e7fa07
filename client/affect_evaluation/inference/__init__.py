"""Send the pictures of a run to a running gateway, and record its answers."""
