"""Erasure requests and tombstones in the ledger."""

from __future__ import annotations

from datetime import date

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from dpdau_assets.storage.ledger import erasures
from dpdau_assets.storage.ledger.erasures import Recorded, Tombstones
from dpdau_assets.storage.ledger.ledger import Ledger
from dpdau_tests.unit.storage.conftest import NOW

EARLY, DAY, LATE = date(2026, 1, 1), date(2026, 1, 5), date(2026, 1, 9)
KEYS = np.array([0, 1, 2**63 - 1, 2**63, 2**64 - 1], np.uint64)


def request(ledger: Ledger, name: str, tombstones: dict[int, Tombstones], *, through: date = DAY) -> Recorded:
    users = max(len(each) for each in tombstones.values())
    with ledger.write() as connection:
        return erasures.request(connection, name, through_day=through, tombstones=tombstones, users=users, now=NOW)


def stored(ledger: Ledger, epoch: int) -> dict[int, tuple[date, int | None, bool]]:
    """Every row of an epoch, read row by row."""
    with ledger.read() as connection:
        rows = connection.execute(
            text(f"SELECT user_key, through_day, seq, pending FROM erasure_log WHERE epoch={epoch}")
        )
        return {row[0] % 2**64: (date.fromisoformat(row[1]), row[2], bool(row[3])) for row in rows}


class TestKeys:
    def test_sign_keeps_the_bits(self) -> None:
        """Unsigned keys go to signed and back, the extremes included."""
        assert erasures.to_signed(KEYS).tolist() == [0, 1, 2**63 - 1, -(2**63), -1]
        assert np.array_equal(erasures.to_unsigned(erasures.to_signed(KEYS)), KEYS)


class TestTombstones:
    def test_a_tombstone_erases_its_last_day_and_earlier_ones(self) -> None:
        """Keys are erased on every day up to and with theirs."""
        tombstones = Tombstones(KEYS[:2], np.array([DAY, EARLY], "datetime64[D]"))
        assert tombstones.erased_on(EARLY).tolist() == [0, 1]
        assert tombstones.erased_on(DAY).tolist() == [0]
        assert tombstones.erased_on(LATE).tolist() == []

    def test_repeats_and_disorder_do_not_matter(self) -> None:
        """The same key twice is one tombstone, in order."""
        assert Tombstones.until(KEYS[[3, 0, 3]], DAY).keys.tolist() == [0, 2**63]

    def test_it_prints_as_nothing(self) -> None:
        """No pseudonym is in its text."""
        assert str(2**63) not in repr(Tombstones.until(KEYS, DAY))


class TestRequest:
    def test_tombstones_come_back_sorted_and_unsigned(self, ledger: Ledger) -> None:
        """Every key is found again, in unsigned order with its day."""
        request(ledger, "r", {3: Tombstones.until(KEYS, DAY)})
        with ledger.read() as connection:
            found = erasures.tombstones(connection, 3)
            assert erasures.tombstones(connection, 4).keys.tolist() == []
            assert erasures.epochs(connection) == [3]
        assert np.array_equal(found.keys, KEYS)
        assert set(found.through.tolist()) == {DAY}

    def test_a_repeated_request_changes_nothing(self, ledger: Ledger) -> None:
        """The same name is recognised, whatever it asks."""
        first = request(ledger, "r", {3: Tombstones.until(KEYS[:1], DAY)})
        again = request(ledger, "r", {3: Tombstones.until(KEYS, LATE)})
        assert (again.seq, again.is_repeat) == (first.seq, True)
        assert len(stored(ledger, 3)) == 1

    def test_an_earlier_day_changes_nothing(self, ledger: Ledger) -> None:
        """Who is erased through a later day stays so; the new request has no row of theirs."""
        first = request(ledger, "r1", {3: Tombstones.until(KEYS, DAY)})
        second = request(ledger, "r2", {3: Tombstones.until(KEYS[:2], EARLY)})
        assert second.unchanged_users == 2
        assert set(stored(ledger, 3).values()) == {(DAY, first.seq, True)}

    def test_a_later_day_moves_the_tombstone_to_the_new_request(self, ledger: Ledger) -> None:
        """The day rises and the row is pending again, even if it was complete."""
        request(ledger, "r1", {3: Tombstones.until(KEYS, DAY)})
        with ledger.write() as connection:
            erasures.complete(connection, 1, now=NOW)
        second = request(ledger, "r2", {3: Tombstones.until(KEYS[:2], LATE)})
        assert second.unchanged_users == 0
        assert stored(ledger, 3)[1] == (LATE, second.seq, True)
        assert stored(ledger, 3)[2**63] == (DAY, None, False)

    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        requests=st.lists(st.dictionaries(st.integers(0, 5), st.integers(0, 20), min_size=1), min_size=1, max_size=6)
    )
    def test_each_key_keeps_its_latest_day(self, ledger: Ledger, requests: list[dict[int, int]]) -> None:
        """Over any sequence of requests with a day per key, the latest day of each key is stored."""
        with ledger.write() as connection:
            connection.execute(text("DELETE FROM erasure_log"))
            connection.execute(text("DELETE FROM erasure_requests"))
        latest: dict[int, int] = {}
        for number, asked in enumerate(requests):
            keys = np.array(sorted(asked), np.uint64)
            days = np.array([np.datetime64("2026-01-01") + asked[int(key)] for key in keys], "datetime64[D]")
            request(ledger, str(number), {1: Tombstones(keys, days)})
            latest.update({key: max(day, latest.get(key, 0)) for key, day in asked.items()})
        with ledger.read() as connection:
            found = erasures.tombstones(connection, 1)
        offsets = (found.through - np.datetime64("2026-01-01")).astype(int).tolist()
        assert dict(zip(found.keys.tolist(), offsets, strict=True)) == latest


class TestSelection:
    def test_each_condition_selects(self, ledger: Ledger) -> None:
        """By erased day, by pending, and by the snapshot of applied requests."""
        request(ledger, "r1", {3: Tombstones.until(KEYS[:1], EARLY)})
        with ledger.write() as connection:
            erasures.complete(connection, 1, now=NOW)
        request(ledger, "r2", {3: Tombstones.until(KEYS[1:2], DAY)})
        request(ledger, "r3", {3: Tombstones.until(KEYS[2:3], LATE), 9: Tombstones.until(KEYS[2:3], LATE)})
        with ledger.read() as connection:
            assert len(erasures.tombstones(connection, 3)) == 3
            assert erasures.tombstones(connection, 3, through_at_least=DAY).keys.tolist() == KEYS[1:3].tolist()
            assert erasures.tombstones(connection, 3, only_pending=True).keys.tolist() == KEYS[1:3].tolist()
            assert erasures.tombstones(connection, 3, applied_upto=2).keys.tolist() == KEYS[:2].tolist()
            assert erasures.epochs(connection, only_pending=True) == [3, 9]
            assert [each.request for each in erasures.pending(connection)] == ["r2", "r3"]
            assert [each.request for each in erasures.pending(connection, upto_seq=2)] == ["r2"]
            assert [each.request for each in erasures.history(connection)] == ["r3", "r2", "r1"]
            assert erasures.last_seq(connection) == 3


class TestComplete:
    def test_links_go_and_tombstones_stay(self, ledger: Ledger) -> None:
        """Completion up to a request leaves its tombstones without a link and later requests pending."""
        request(ledger, "r1", {3: Tombstones.until(KEYS[:2], DAY), 4: Tombstones.until(KEYS[:2], DAY)})
        request(ledger, "r2", {3: Tombstones.until(KEYS[2:3], DAY)})
        with ledger.write() as connection:
            assert erasures.complete(connection, 1, now=NOW) == 1
            assert erasures.complete(connection, 1, now=NOW) == 0
        assert stored(ledger, 4) == {0: (DAY, None, False), 1: (DAY, None, False)}
        assert stored(ledger, 3)[2**63 - 1] == (DAY, 2, True)
        with ledger.read() as connection:
            found = erasures.find(connection, "r1")
            assert found is not None and found.completed_at == "2026-03-01T12:00:00.000000+00:00"

    def test_a_hundred_thousand_users_are_one_statement_each_way(self, ledger: Ledger) -> None:
        """Bulk requests keep every key."""
        keys = np.unique(np.random.default_rng(1).integers(0, 2**64, 100_000, dtype=np.uint64))
        request(ledger, "r", {3: Tombstones.until(keys, DAY)})
        with ledger.write() as connection:
            assert np.array_equal(erasures.tombstones(connection, 3).keys, keys)
            erasures.complete(connection, 1, now=NOW)
            assert len(erasures.tombstones(connection, 3, only_pending=True)) == 0


class TestFloor:
    def test_it_is_unknown_until_set(self, ledger: Ledger) -> None:
        """The floor comes with the first erasure and stays."""
        with ledger.write() as connection:
            assert erasures.tombstone_floor(connection) is None
            erasures.set_tombstone_floor(connection, EARLY)
            assert erasures.tombstone_floor(connection) == EARLY
