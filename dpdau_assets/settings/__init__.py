"""Defines every setting, how it is written and which go together; only this package reads the environment."""
