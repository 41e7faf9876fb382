"""Distinct-count sketches: exact, bottom-k, theta and HyperLogLog, each with its sensitivity."""
