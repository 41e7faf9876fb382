"""Synthetic activity and benchmarks: what shows that the system works, and nothing that the system needs to work."""
