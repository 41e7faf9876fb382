"""The SQL ledger: one module a table, its schema and its migrations."""
