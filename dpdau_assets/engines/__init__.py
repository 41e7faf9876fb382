"""Reads a source once and pseudonymises it. `protocol` states the guarantees of every engine."""
