"""Stores files, the SQL ledger, the journal, keys and backups. No rule about privacy is decided here."""
