"""Read and write the folder of a run: its pictures and labels, every recorded answer, and the result."""
