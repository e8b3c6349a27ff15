"""Benchmarks of lidr against its peers: `make bench-train`, `make bench-train-gpu`, `make bench-generate`."""
