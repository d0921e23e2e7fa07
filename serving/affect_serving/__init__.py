"""The gateway: pictures in over HTTP, expression, valence and arousal out."""
