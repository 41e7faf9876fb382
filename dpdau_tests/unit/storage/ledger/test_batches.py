"""Batches and their staged files in the ledger."""

from __future__ import annotations

from datetime import date

import pytest

from dpdau_assets.errors import InternalError
from dpdau_assets.storage.ledger import batches
from dpdau_assets.storage.ledger.ledger import Ledger
from dpdau_tests.unit.storage.conftest import NOW

DAYS = [date(2026, 1, number) for number in (1, 2, 3)]


def record(ledger: Ledger, name: str, days: list[date], epochs: tuple[int, ...] = (5,)) -> int:
    with ledger.write() as connection:
        return batches.record(
            connection,
            name * 32,
            source_format="csv",
            events=10,
            accepted=9,
            rejected={"no_user": 1},
            erasures=0,
            files=[(day, epoch, "0" * 64) for day in days for epoch in epochs],
            now=NOW,
        )


class TestBatches:
    def test_a_recorded_batch_is_found(self, ledger: Ledger) -> None:
        """The row comes back as recorded; another name is not found."""
        seq = record(ledger, "a", DAYS)
        with ledger.read() as connection:
            found = batches.find(connection, "a" * 32)
            assert batches.find(connection, "b" * 32) is None
        assert found == batches.Batch(
            seq, "a" * 32, "csv", "2026-03-01T12:00:00.000000+00:00", 10, 9, {"no_user": 1}, 0, False
        )

    def test_the_same_batch_cannot_be_recorded_twice(self, ledger: Ledger) -> None:
        """A second record of one name fails and leaves the first alone."""
        record(ledger, "a", DAYS)
        with pytest.raises(InternalError):
            record(ledger, "a", DAYS)
        with ledger.read() as connection:
            assert len(batches.staged_between(connection)) == 3
            assert batches.totals(connection).batches == 1

    def test_a_batch_without_days_is_recorded(self, ledger: Ledger) -> None:
        """A source of which every row was rejected is a batch without files."""
        record(ledger, "a", [])
        with ledger.read() as connection:
            assert batches.staged_between(connection) == []
            assert batches.totals(connection).events == 10

    def test_numbers_are_never_reused(self, ledger: Ledger) -> None:
        """A batch recorded after a discarded one gets a higher number."""
        first = record(ledger, "a", DAYS)
        with ledger.write() as connection:
            batches.discard(connection, first)
        assert record(ledger, "a", DAYS) > first


class TestStagedFiles:
    def test_a_range_and_a_cut_select(self, ledger: Ledger) -> None:
        """First and last day are included; batches after the snapshot are not; order is day, epoch, batch."""
        first = record(ledger, "a", DAYS, epochs=(5, 4))
        second = record(ledger, "b", DAYS[1:])
        with ledger.read() as connection:
            found = batches.staged_between(connection, DAYS[1], DAYS[1])
            cut = batches.staged_between(connection, DAYS[1], upto_seq=first)
            assert batches.staged_days(connection) == DAYS
            assert [file.batch for file in batches.staged_of(connection, second)] == ["b" * 32] * 2
            assert batches.last_seq(connection) == second
        assert [(file.epoch, file.batch_seq) for file in found] == [(4, first), (5, first), (5, second)]
        assert {file.batch_seq for file in cut} == {first} and len(cut) == 4

    def test_a_fold_of_one_file_marks_its_batch(self, ledger: Ledger) -> None:
        """After one fold the batch can no longer be discarded; a file emptied by an erasure does not count."""
        seq = record(ledger, "a", DAYS)
        for day, is_fold in ((DAYS[0], False), (DAYS[1], True)):
            with ledger.write() as connection:
                batches.forget_staged(connection, batches.staged_between(connection, day, day), is_fold=is_fold)
                found = batches.find(connection, "a" * 32)
                assert found is not None and found.is_folded is is_fold
        with ledger.write() as connection:
            assert [file.day for file in batches.staged_of(connection, seq)] == [DAYS[2]]

    def test_a_folded_batch_is_not_discarded(self, ledger: Ledger) -> None:
        """Discarding removes nothing of a batch that is folded in part."""
        seq = record(ledger, "a", DAYS)
        with ledger.write() as connection:
            batches.forget_staged(connection, batches.staged_between(connection, DAYS[0], DAYS[0]))
        with pytest.raises(InternalError), ledger.write() as connection:
            batches.discard(connection, seq)
        with ledger.read() as connection:
            assert batches.find(connection, "a" * 32) is not None
            assert len(batches.staged_of(connection, seq)) == 2

    def test_a_rewritten_file_has_its_new_digest(self, ledger: Ledger) -> None:
        """Only the row of that file changes."""
        record(ledger, "a", DAYS)
        with ledger.write() as connection:
            batches.set_staged_digest(connection, batches.staged_between(connection)[1], "1" * 64)
            assert [file.digest[0] for file in batches.staged_between(connection)] == ["0", "1", "0"]
