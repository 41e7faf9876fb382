"""Noise in integers: samplers, calibration and the mechanisms that releases use."""
