"""Tests of dpdau_assets: a file mirrors a module, a class a subject, a function one law."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
"""The checkout whose tests these are."""
