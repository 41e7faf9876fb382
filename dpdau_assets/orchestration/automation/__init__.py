"""Sensors and the schedule: they ask the ledger what is due and request runs."""
