"""Alembic migrations of the ledger; run inside the transaction of whoever opens it."""
