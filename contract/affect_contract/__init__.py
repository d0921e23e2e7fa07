"""What all parts of Affect agree on; imports no TensorFlow and no web framework."""
