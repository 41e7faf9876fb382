"""What `make demo`, `make ui` and `make backfill` start."""
