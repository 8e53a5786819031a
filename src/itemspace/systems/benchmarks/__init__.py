"""Published datasets and benchmarks."""
