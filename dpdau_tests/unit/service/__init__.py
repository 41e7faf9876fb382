"""Mirrors dpdau_assets/service."""
