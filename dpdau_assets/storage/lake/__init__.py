"""Key-level files below DATA_DIR: names, columns, reading, searching and the DuckDB catalogue."""
