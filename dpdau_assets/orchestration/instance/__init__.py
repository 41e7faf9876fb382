"""The Dagster home: its settings, its event log, and range runs."""
