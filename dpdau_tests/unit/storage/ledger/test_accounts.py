"""Accounts, charges, releases and resets in the ledger."""

from __future__ import annotations

from datetime import date

import pytest
from sqlalchemy import Connection, select

from dpdau_assets.core.dp_events import DiscreteGaussianEvent, DiscreteLaplaceEvent, PureDpEvent, count_events
from dpdau_assets.errors import InternalError
from dpdau_assets.storage.ledger import accounts, releases, schema
from dpdau_assets.storage.ledger.accounts import Account
from dpdau_assets.storage.ledger.ledger import Ledger
from dpdau_tests.unit.storage.conftest import NOW

PERIOD = "2026-01"
DAYS = [date(2026, 1, number) for number in (1, 2, 3)]
GAUSSIAN, LAPLACE = DiscreteGaussianEvent(12.99), DiscreteLaplaceEvent(10 / 3)


def open_account(connection: Connection, metric: str = "dau", period: str = PERIOD) -> Account:
    return accounts.open_account(
        connection,
        metric,
        period,
        mechanism="gaussian",
        parameters={"stddev": 12.99},
        epsilon_cap=3.0,
        delta=1e-6,
        month_cap=6.0,
        year_cap=29.0,
        now=NOW,
    )


def charge(connection: Connection, account: Account, day: date, *events: object) -> int:
    return accounts.insert_charge(connection, account, day=day, kind="release", events=events or (GAUSSIAN,), now=NOW)  # type: ignore[arg-type]


def release(connection: Connection, account: Account, day: date, *, revision: int = 0, drawn: int = -5) -> None:
    number = charge(connection, account, day)
    releases.insert_release(
        connection,
        number,
        metric=account.metric,
        day=day,
        revision=revision,
        drawn=drawn,
        result={"estimate": max(0, drawn)},
        reason=None if revision == 0 else "wrong threshold",
        now=NOW,
    )


class TestVersion:
    def test_it_rises_with_every_account_charge_and_reset(self, ledger: Ledger) -> None:
        """Each of the three changes it, releases and other tables do not."""
        versions = []
        with ledger.write() as connection:
            versions.append(accounts.version(connection))
            account = open_account(connection)
            versions.append(accounts.version(connection))
            number = charge(connection, account, DAYS[0])
            versions.append(accounts.version(connection))
            releases.insert_release(
                connection, number, metric="dau", day=DAYS[0], revision=0, drawn=1, result={}, reason=None, now=NOW
            )
            assert accounts.version(connection) == versions[-1]
            accounts.record_reset(connection, "dau", PERIOD, reason="public error", now=NOW)
            versions.append(accounts.version(connection))
        assert versions == sorted(set(versions))

    def test_a_rolled_back_charge_leaves_it(self, ledger: Ledger) -> None:
        """A transaction that did not commit did not happen."""
        with ledger.write() as connection:
            account = open_account(connection)
            before = accounts.version(connection)
        with pytest.raises(ZeroDivisionError), ledger.write() as connection:
            charge(connection, account, DAYS[0])
            raise ZeroDivisionError
        with ledger.read() as connection:
            assert accounts.version(connection) == before


class TestAccounts:
    def test_an_account_comes_back_as_opened(self, ledger: Ledger) -> None:
        """The first generation is 1, and another metric or month has its own account."""
        with ledger.write() as connection:
            assert accounts.current_account(connection, "dau", PERIOD) is None
            opened = open_account(connection)
            assert accounts.current_account(connection, "dau", PERIOD) == opened
            assert accounts.current_account(connection, "wau", PERIOD) is None
            assert accounts.current_account(connection, "dau", "2026-02") is None
        assert (opened.generation, opened.parameters) == (1, {"stddev": 12.99})

    def test_an_account_is_opened_once(self, ledger: Ledger) -> None:
        """A second account of the same generation is refused."""
        with pytest.raises(InternalError), ledger.write() as connection:
            open_account(connection)
            open_account(connection)

    def test_a_reset_opens_the_next_generation(self, ledger: Ledger) -> None:
        """After a reset no account is open; what was charged before still counts for the month."""
        with ledger.write() as connection:
            first = open_account(connection)
            charge(connection, first, DAYS[0])
            reset = accounts.record_reset(connection, "dau", PERIOD, reason="public error", now=NOW)
            assert accounts.current_account(connection, "dau", PERIOD) is None
            second = open_account(connection)
            charge(connection, second, DAYS[1])
            assert (reset.generation, second.generation) == (2, 2)
            assert accounts.events_of_account(connection, second) == count_events([GAUSSIAN])
            assert accounts.events_of_metric(connection, "dau", PERIOD) == count_events([GAUSSIAN] * 2)
            assert [each.reason for each in accounts.resets_of(connection, "dau", PERIOD)] == ["public error"]
            assert accounts.accounts_of(connection, "dau", PERIOD) == [first, second]

    def test_resets_before_any_account_count_on(self, ledger: Ledger) -> None:
        """Two resets in a row give generations 2 and 3."""
        with ledger.write() as connection:
            found = [accounts.record_reset(connection, "dau", PERIOD, reason="x", now=NOW).generation for _ in range(2)]
        assert found == [2, 3]


class TestEvents:
    def test_events_are_summed_by_what_they_are(self, ledger: Ledger) -> None:
        """Over account, metric, month, day and lifetime, each event is counted as often as it was charged."""
        with ledger.write() as connection:
            dau, wau = open_account(connection), open_account(connection, "wau")
            later = open_account(connection, "dau", "2026-02")
            charge(connection, dau, DAYS[0])
            charge(connection, dau, DAYS[0], LAPLACE, PureDpEvent(0.05))
            charge(connection, dau, DAYS[1])
            charge(connection, wau, DAYS[1])
            charge(connection, later, date(2026, 2, 1))
            assert accounts.events_of_account(connection, dau) == count_events(
                [GAUSSIAN, GAUSSIAN, LAPLACE, PureDpEvent(0.05)]
            )
            assert accounts.events_of_period(connection, PERIOD) == count_events(
                [GAUSSIAN] * 3 + [LAPLACE, PureDpEvent(0.05)]
            )
            assert accounts.lifetime_events(connection, "dau") == count_events(
                [GAUSSIAN] * 3 + [LAPLACE, PureDpEvent(0.05)]
            )
            assert sum(count for _, count in accounts.lifetime_events(connection)) == 6
            assert accounts.daily_events(connection, DAYS[0], DAYS[2]) == {
                DAYS[0]: count_events([GAUSSIAN, LAPLACE, PureDpEvent(0.05)]),
                DAYS[1]: count_events([GAUSSIAN] * 2),
            }

    def test_nothing_charged_is_no_event(self, ledger: Ledger) -> None:
        """An empty budget composes to the empty multiset."""
        with ledger.read() as connection:
            assert accounts.lifetime_events(connection) == ()
            assert accounts.daily_events(connection, DAYS[0], DAYS[2]) == {}

    def test_a_threshold_search_is_charged_with_its_outcome(self, ledger: Ledger) -> None:
        """The search counts as an event of its own and its outcome is kept beside it."""
        with ledger.write() as connection:
            account = open_account(connection)
            accounts.insert_charge(
                connection,
                account,
                day=DAYS[0],
                kind="threshold",
                events=[PureDpEvent(0.05)],
                outcome={"level": 3},
                now=NOW,
            )
            assert accounts.events_of_account(connection, account) == count_events([PureDpEvent(0.05)])
            assert connection.execute(select(schema.charges.c.outcome)).scalar() == {"level": 3}

    def test_an_unknown_kind_is_refused(self, ledger: Ledger) -> None:
        """The table itself knows the three kinds."""
        with pytest.raises(InternalError), ledger.write() as connection:
            accounts.insert_charge(
                connection,
                open_account(connection),
                day=DAYS[0],
                kind="gift",  # type: ignore[arg-type]
                events=[GAUSSIAN],
                now=NOW,
            )


class TestReleases:
    def test_the_latest_revision_is_found(self, ledger: Ledger) -> None:
        """A negative draw is stored as drawn; the newest revision answers; all are kept."""
        with ledger.write() as connection:
            account = open_account(connection)
            release(connection, account, DAYS[0])
            release(connection, account, DAYS[0], revision=1, drawn=7)
            release(connection, account, DAYS[1], drawn=-(2**62))
            found = releases.find_release(connection, "dau", DAYS[0])
            assert found is not None and (found.revision, found.drawn, found.reason) == (1, 7, "wrong threshold")
            assert releases.find_release(connection, "wau", DAYS[0]) is None
            assert [each.drawn for each in releases.releases_between(connection)] == [7, -(2**62)]
            kept = releases.releases_between(connection, DAYS[0], DAYS[0], metric="dau", all_revisions=True)
            assert [each.revision for each in kept] == [0, 1]
            assert releases.released_days(connection, "dau") == set(DAYS[:2])

    def test_one_revision_is_published_once(self, ledger: Ledger) -> None:
        """A second value of the same revision is refused, and its charge with it."""
        with ledger.write() as connection:
            account = open_account(connection)
            release(connection, account, DAYS[0])
        with pytest.raises(InternalError), ledger.write() as connection:
            release(connection, account, DAYS[0])
        with ledger.read() as connection:
            assert accounts.lifetime_events(connection) == count_events([GAUSSIAN])

    def test_a_release_needs_its_charge(self, ledger: Ledger) -> None:
        """A value without a charge cannot be stored."""
        with pytest.raises(InternalError), ledger.write() as connection:
            releases.insert_release(
                connection, 99, metric="dau", day=DAYS[0], revision=0, drawn=1, result={}, reason=None, now=NOW
            )

    def test_the_release_made_last_is_found_whatever_its_day(self, ledger: Ledger) -> None:
        """Order is that of charging, not of days."""
        with ledger.write() as connection:
            account = open_account(connection)
            release(connection, account, DAYS[2])
            release(connection, account, DAYS[0])
            found = releases.last_release(connection, "dau")
        assert found is not None and found.day == DAYS[0]
