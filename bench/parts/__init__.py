"""What the benchmarks of ingestion are made of."""
