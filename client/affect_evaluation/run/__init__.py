"""What the folder of a run holds: its pictures, every recorded answer, and the result."""
