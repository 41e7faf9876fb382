"""Facts about epochs and retention in the ledger never go back."""

from __future__ import annotations

from datetime import date

from dpdau_assets.storage.ledger import erasures, salt_facts
from dpdau_assets.storage.ledger.ledger import Ledger

EARLIER, LATER = date(2026, 3, 1), date(2026, 3, 8)


class TestEpochFacts:
    def test_a_new_ledger_knows_nothing(self, ledger: Ledger) -> None:
        """No fingerprint, no epoch destroyed, every day accepted."""
        with ledger.read() as connection:
            assert salt_facts.fingerprint(connection) is None
            assert salt_facts.destroyed_below(connection) == 0
            assert salt_facts.retention_floor(connection) == date(1970, 1, 1)
            assert erasures.acceptance_floor(connection) == date(1970, 1, 1)

    def test_the_floor_only_rises(self, ledger: Ledger) -> None:
        """An earlier day leaves it where it is."""
        with ledger.write() as connection:
            assert salt_facts.raise_retention_floor(connection, LATER) == LATER
            assert salt_facts.raise_retention_floor(connection, EARLIER) == LATER
            assert salt_facts.retention_floor(connection) == LATER

    def test_destroyed_epochs_stay_destroyed(self, ledger: Ledger) -> None:
        """A lower number changes nothing."""
        with ledger.write() as connection:
            salt_facts.set_destroyed_below(connection, 7)
            salt_facts.set_destroyed_below(connection, 5)
            assert salt_facts.destroyed_below(connection) == 7

    def test_activity_is_accepted_from_the_later_of_both_floors(self, ledger: Ledger) -> None:
        """What erasures cannot reach and what was dropped are refused alike."""
        with ledger.write() as connection:
            erasures.set_tombstone_floor(connection, EARLIER)
            assert erasures.acceptance_floor(connection) == EARLIER
            salt_facts.raise_retention_floor(connection, LATER)
            assert erasures.acceptance_floor(connection) == LATER
