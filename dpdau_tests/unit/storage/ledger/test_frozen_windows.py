"""A frozen count is written once."""

from __future__ import annotations

from datetime import date, timedelta

from dpdau_assets.storage.ledger import frozen_windows
from dpdau_assets.storage.ledger.frozen_windows import FrozenWindow
from dpdau_assets.storage.ledger.ledger import Ledger

DAY = date(2026, 3, 1)


class TestFrozenWindows:
    def test_the_first_count_stays(self, ledger: Ledger) -> None:
        """Freezing again with another count adds nothing and changes nothing."""
        first, second = FrozenWindow(DAY, 30, 5, is_exact=True), FrozenWindow(DAY, 30, 6, is_exact=False)
        with ledger.write() as connection:
            assert frozen_windows.freeze(connection, [first]) == 1
            assert frozen_windows.freeze(connection, [second, FrozenWindow(DAY, 7, 3, is_exact=True)]) == 1
            assert frozen_windows.load(connection, DAY, DAY)[DAY, 30] == first

    def test_only_the_days_asked_for_are_read(self, ledger: Ledger) -> None:
        """Both ends are included."""
        days = [DAY + timedelta(days=offset) for offset in range(5)]
        with ledger.write() as connection:
            frozen_windows.freeze(connection, [FrozenWindow(day, 1, 1, is_exact=True) for day in days])
            assert [day for day, _ in sorted(frozen_windows.load(connection, days[1], days[3]))] == days[1:4]

    def test_it_prints_no_count(self) -> None:
        """The count is sensitive."""
        assert "12345" not in repr(FrozenWindow(DAY, 30, 12345, is_exact=True))
