"""The DuckDB engine: rows to verdicts, days and pseudonyms, set-wise."""
