"""Partitions in the ledger."""

from __future__ import annotations

import hashlib
from datetime import date

from dpdau_assets.storage.ledger import partitions
from dpdau_assets.storage.ledger.ledger import Ledger
from dpdau_assets.storage.ledger.partitions import Partition
from dpdau_tests.unit.storage.conftest import NOW

DAYS = [date(2026, 1, number) for number in (1, 2, 3)]


def save(ledger: Ledger, *rows: Partition) -> None:
    with ledger.write() as connection:
        partitions.save(connection, rows, now=NOW)


def raw(day: date, *, files: dict[str, str] | None = None, applied: int = 0) -> Partition:
    return Partition("raw_events", day, files or {}, "", applied)


class TestDigest:
    def test_it_is_the_digest_of_the_sorted_lines(self) -> None:
        """One line per epoch in text order; without files the digest of nothing."""
        assert partitions.digest_of({"9": "b", "10": "a"}) == hashlib.sha256(b"10:a\n9:b").hexdigest()
        assert partitions.digest_of({}) == hashlib.sha256(b"").hexdigest()

    def test_order_does_not_matter_and_content_does(self) -> None:
        """Equal files have equal digests, others do not."""
        assert partitions.digest_of({"1": "a", "2": "b"}) == partitions.digest_of({"2": "b", "1": "a"})
        assert partitions.digest_of({"1": "a"}) != partitions.digest_of({"2": "a"})


class TestPartitions:
    def test_saved_rows_are_loaded_by_asset_and_day(self, ledger: Ledger) -> None:
        """Limits are included; other assets and days are left out."""
        other = Partition("daily_sketches", DAYS[0], {"1": "x" * 64}, "in", 3)
        save(ledger, *(raw(day) for day in DAYS), other)
        with ledger.read() as connection:
            found = partitions.load(connection, ["raw_events"], DAYS[0], DAYS[1])
            assert set(found) == {("raw_events", DAYS[0]), ("raw_events", DAYS[1])}
            loaded = partitions.load(connection, ["daily_sketches"])["daily_sketches", DAYS[0]]
        assert (loaded.files, loaded.input_digest, loaded.applied_erasure_seq) == ({"1": "x" * 64}, "in", 3)
        assert loaded.built_at == "2026-03-01T12:00:00.000000+00:00"
        assert loaded.digest == other.digest

    def test_every_file_is_named(self, ledger: Ledger) -> None:
        """Each file of each partition once, as `load` has it; a day without files has none."""
        unions = Partition("mau_unions", DAYS[2], {"windows": "w" * 64}, "in", 3)
        save(ledger, raw(DAYS[0]), raw(DAYS[1], files={"9": "a" * 64, "10": "b" * 64}), unions)
        with ledger.read() as connection:
            loaded = partitions.load(connection, ["raw_events", "mau_unions"]).values()
            found = partitions.names_of_files(connection)
        assert sorted(found) == sorted((row.asset, str(row.day), name) for row in loaded for name in row.files)
        assert len(found) == 3

    def test_saving_again_replaces_and_takes_the_next_version(self, ledger: Ledger) -> None:
        """A partition has one row; each save has a version above all earlier ones."""
        save(ledger, *(raw(day) for day in DAYS))
        save(ledger, raw(DAYS[0], files={"1": "y" * 64}))
        with ledger.read() as connection:
            assert partitions.days_with(connection, "raw_events") == DAYS
            assert [row.version for row in partitions.load(connection, ["raw_events"]).values()] == [4, 2, 3]
            assert partitions.last_version(connection) == 4

    def test_versions_are_never_given_again(self, ledger: Ledger) -> None:
        """Even after the newest row is gone the next version is a new one."""
        save(ledger, *(raw(day) for day in DAYS))
        with ledger.write() as connection:
            connection.exec_driver_sql("DELETE FROM partitions WHERE day = ?", (DAYS[2].isoformat(),))
            assert partitions.days_with(connection, "raw_events") == DAYS[:2]
        save(ledger, raw(DAYS[2]))
        with ledger.read() as connection:
            assert [row.version for row in partitions.load(connection, ["raw_events"]).values()] == [1, 2, 4]

    def test_applied_erasures_only_rise(self, ledger: Ledger) -> None:
        """Marking moves the rows behind and leaves those ahead, without a new version."""
        save(ledger, raw(DAYS[0], applied=1), raw(DAYS[1], applied=5))
        with ledger.write() as connection:
            assert partitions.mark_applied(connection, 3) == 1
            assert partitions.lowest_applied(connection) == 3
            assert partitions.last_version(connection) == 2
            assert partitions.load(connection, ["raw_events"])["raw_events", DAYS[1]].applied_erasure_seq == 5

    def test_an_empty_ledger_has_no_lowest(self, ledger: Ledger) -> None:
        """Without partitions nothing is behind."""
        with ledger.read() as connection:
            assert partitions.lowest_applied(connection) is None
            assert partitions.last_version(connection) == 0
