"""How an operation tells how far it is; who shows it, and how, is the caller's matter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dpdau_assets.storage.disk.lock import waits_told_to

Progress = Callable[[str, int, int], None]
"""Called with the name of the step, the units done and the units in all; never with a value of the data."""


def no_progress(step: str, done: int, total: int) -> None:
    """Shows nothing."""


@contextmanager
def waits_shown_by(show: Callable[[str], None]) -> Iterator[None]:
    """Within the block `show` gets one line about every wait for a lock that lasts longer than a moment."""
    with waits_told_to(show):
        yield
