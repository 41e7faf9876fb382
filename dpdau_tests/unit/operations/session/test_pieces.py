"""Work in pieces: order and completeness."""

from __future__ import annotations

from datetime import date

import pytest

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.operations.session.pieces import in_chunks, in_threads


class TestPieces:
    @pytest.mark.parametrize("count", [0, 1, 7, 500])
    def test_threads_keep_the_order(self, count: int) -> None:
        """Results come in the order of the items, however many there are."""
        assert in_threads(lambda number: number * 2, range(count)) == [number * 2 for number in range(count)]

    def test_chunks_hold_every_day_once(self) -> None:
        """Pieces have at most the size asked for, and together they are the days."""
        days = DayRange(date(2026, 1, 1), date(2026, 1, 9)).days()
        pieces = list(in_chunks(days, 4))
        assert [len(piece) for piece in pieces] == [4, 4, 1]
        assert [day for piece in pieces for day in piece] == days
