"""The time of day of made streams."""

from __future__ import annotations

from datetime import UTC, date, datetime


def noon(day: date) -> datetime:
    """Twelve o'clock UTC of a day."""
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
