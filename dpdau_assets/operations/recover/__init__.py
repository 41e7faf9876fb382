"""Backups, restores, rebuilds and the repairs that `verify` names."""
