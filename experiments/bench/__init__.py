"""Benchmarks of lidr against its peers: `make bench-train`, `make bench-generate`, and both with `-gpu`."""
