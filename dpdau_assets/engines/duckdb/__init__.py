"""The DuckDB engine, which turns rows into verdicts, days and pseudonyms, many rows at a time."""
