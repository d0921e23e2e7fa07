"""The networks: backbones, heads, their initial weights, and both as one for fine-tuning."""
