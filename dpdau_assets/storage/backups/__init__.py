"""Copies of the ledger and of the lake, what they need, and when they expire."""
