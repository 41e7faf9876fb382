"""From staged files to counted windows, a module an asset. Reading sources belongs to `ingest`."""
