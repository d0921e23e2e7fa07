"""From recorded answers to scores with intervals."""
