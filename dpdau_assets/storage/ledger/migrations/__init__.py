"""Alembic migrations of the ledger, which run inside the transaction that opens it."""
