"""Synthetic streams of activity with a known law."""
