"""How an operation tells how far it is; who shows it, and how, is the caller's matter."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with the name of the step, the units done and the units in all; never with a value of the data."""


def no_progress(step: str, done: int, total: int) -> None:
    """Shows nothing."""
