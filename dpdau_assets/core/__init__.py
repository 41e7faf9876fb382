"""The mathematics: pure functions without input or output, clock, environment or global randomness."""
