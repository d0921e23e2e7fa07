"""What tests, benchmarks and trials of images share; no part of the product imports it."""
