"""Stored values as CSV, Parquet and the report page. Nothing here draws or reads activity."""
