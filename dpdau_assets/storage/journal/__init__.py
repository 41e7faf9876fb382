"""The append-only journal, which every transaction writes before it commits and which a restore replays."""
