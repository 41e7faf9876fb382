"""The append-only journal: what every answer waits for, and what a restore replays."""
