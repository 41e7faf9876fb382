"""Tests of dpdau_assets: a file mirrors a module, a class a subject, a function one law."""
