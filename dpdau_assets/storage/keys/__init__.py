"""Keeps, exports encrypted, and destroys salt secrets and the keys of shared noise."""
