"""Noise over long horizons and its sensitivity. It serves evaluation only: no release uses it."""
