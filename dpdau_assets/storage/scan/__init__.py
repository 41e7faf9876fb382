"""Searching bytes for erased pseudonyms, also in SQLite's unused pages."""
