"""Work in pieces: so many days at a time, so many items to a thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import TypeVar

READ_THREADS = 2
ITEMS_PER_TURN = 64
Item = TypeVar("Item")
Result = TypeVar("Result")


def in_chunks(days: list[date], size: int) -> Iterator[list[date]]:
    """`days` in pieces of at most `size`."""
    return (days[start : start + size] for start in range(0, len(days), size))


def in_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """`function` of each item, in order, in a few threads; many small items share one turn of a thread."""
    size = max(1, min(ITEMS_PER_TURN, len(items) // (4 * READ_THREADS)))
    pieces = [items[start : start + size] for start in range(0, len(items), size)]
    with ThreadPoolExecutor(READ_THREADS) as pool:
        return [
            result for piece in pool.map(lambda piece: [function(item) for item in piece], pieces) for result in piece
        ]
