"""Noise over long horizons and its sensitivity. Evaluation only: no release uses it."""
