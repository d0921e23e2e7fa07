"""Stand-ins and helpers shared by tests, benchmarks and image trials; no part of the product imports them."""
