"""Bounds of the composed loss of charged events: naive, advanced, Renyi, Gaussian, privacy loss distribution."""
