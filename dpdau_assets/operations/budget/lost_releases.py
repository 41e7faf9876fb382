"""Days that may have been released in a time of which the journal has lost its lines.

Belongs here: which days those are, refusing their unreleased values, and charging them once somebody says which were
released. A value that was drawn and lost is spent all the same: drawing the day again without paying for the lost draw
would reveal more than the budget says. Finding the gap belongs to `restore`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection

from dpdau_assets.core.dp_events import EventCounts, merge_events, repeat_event
from dpdau_assets.core.quantities import (
    EARLIEST_DAY,
    METRICS,
    ONE_DAY,
    DayRange,
    Metric,
    contiguous_ranges,
    period_of,
)
from dpdau_assets.errors import ConfigurationError, DataError, UsageError
from dpdau_assets.operations.budget.caps import BudgetBook, open_account
from dpdau_assets.operations.budget.terms import JOINT
from dpdau_assets.operations.session.calendar import last_closed_day
from dpdau_assets.operations.session.workspace import FLOOR_KEY, Workspace, series_floor_reach
from dpdau_assets.settings.settings import Settings
from dpdau_assets.storage.ledger import accounts, releases
from dpdau_assets.storage.ledger.ledger import get_meta, set_meta
from dpdau_assets.storage.ledger.schema import ASSUMED_SHARED_NOISE
from dpdau_assets.storage.ledger.shared_noise_charges import has_assumed_shared_noise_charge

UNACCOUNTED_KEY = "unaccounted_days"


@dataclass(frozen=True, slots=True)
class Assumed:
    """What was charged for lost values (public)."""

    charged: tuple[tuple[str, date], ...]
    still_unaccounted: tuple[DayRange, ...]

    def to_json(self) -> dict[str, Any]:
        """The answer as a document."""
        return {
            "charged": [{"account": name, "day": day.isoformat()} for name, day in self.charged],
            "unaccounted": ranges_document(self.still_unaccounted),
        }


def ranges_document(ranges: Iterable[DayRange]) -> list[dict[str, str]]:
    """Ranges of days as a document."""
    return [{"from": each.first.isoformat(), "to": each.last.isoformat()} for each in ranges]


def unaccounted(connection: Connection) -> tuple[DayRange, ...]:
    """The days whose unreleased values may be lost ones; none unless a restore found a gap."""
    stored = get_meta(connection, UNACCOUNTED_KEY)
    pairs = json.loads(stored) if stored else []
    return tuple(DayRange(date.fromisoformat(first), date.fromisoformat(last)) for first, last in pairs)


def set_unaccounted(connection: Connection, days: Iterable[date]) -> None:
    """Records the days of which values may be lost."""
    ranges = contiguous_ranges(sorted(set(days)))
    set_meta(connection, UNACCOUNTED_KEY, json.dumps([[str(each.first), str(each.last)] for each in ranges]))


def days_that_may_be_lost(connection: Connection, settings: Settings, *, until: datetime) -> list[date]:
    """The closed days of the series, as of the end of a gap, of which some metric has no value and no charge.

    A gap in time says nothing about which days were released in it: each that was closed by then may have been, by the
    settings of then. Therefore SERIES_END does not count, nor a SERIES_START that was moved later.

    Args:
        connection: A transaction of the restored ledger.
        settings: SERIES_START, TIMEZONE and the close.
        until: When the gap ended.

    Raises:
        ConfigurationError: Neither the settings nor the ledger know a first day of the series.
    """
    done = [_accounted_for(connection, metric) for metric in METRICS]
    known = [day for days in done for day in days]
    known += [day for day in (settings.series_start, _first_series_start(connection, settings)) if day is not None]
    if not known:
        raise ConfigurationError(
            "the journal has a gap, and nothing tells from which day on days may have been released in it",
            hint="set SERIES_START to the first day that was ever published (if none was, that will be), then repeat "
            "`dpdau restore`",
        )
    last = last_closed_day(settings, until)
    days = DayRange(min(known), last).days() if min(known) <= last else []
    return [day for day in days if not all(day in accounted for accounted in done)]


def _first_series_start(connection: Connection, settings: Settings) -> date | None:
    """The first SERIES_START that this folder was opened with, or an earlier day; None while there was none."""
    stored = get_meta(connection, FLOOR_KEY)
    if stored is None:
        return None
    floor = date.fromisoformat(stored)
    return floor if floor <= EARLIEST_DAY else floor + ONE_DAY * series_floor_reach(settings)


def _accounted_for(connection: Connection, metric: Metric) -> set[date]:
    """Days of which a metric has a value, or a charge for a lost one."""
    return releases.released_days(connection, metric) | accounts.assumed_days(connection, [metric, JOINT])


def check_accounted(workspace: Workspace, pairs: Iterable[tuple[Metric, date]]) -> None:
    """Raises unless no value asked for can be one that was drawn and lost.

    Raises:
        DataError: A day without a value lies in a gap of the journal and is not charged yet.
    """
    with workspace.ledger.read() as connection:
        ranges = unaccounted(connection)
        if not ranges:
            return
        done = {metric: _accounted_for(connection, metric) for metric in METRICS}
    for metric, day in pairs:
        if day not in done[metric] and any(day in days for days in ranges):
            raise DataError(
                f"{metric} of {day} may have been released in a time that the journal lost: it is not drawn again "
                "before that is charged",
                hint=f'run `dpdau restore --assume-released {day}..{day} --reason "..."`, or of all days released then',
            )


def assume_released(workspace: Workspace, days: DayRange, *, reason: str) -> Assumed:
    """Charges the lost values of `days`, each once, so that their days can be released again.

    Every metric without a value is charged by the terms of its account; what that takes above a cap is charged too,
    because it may have been spent. A later release of such a day is revision 1.

    Args:
        workspace: The open data folder.
        days: Days that may have been released (public).
        reason: Who says so; stored with each charge.

    Raises:
        UsageError: No day of `days` is unaccounted for, or the reason is empty.
    """
    if not reason.strip():
        raise UsageError("charging lost releases needs a reason", hint="say who found out which days were released")
    with workspace.ledger.read() as connection:
        ranges = unaccounted(connection)
    chosen = [day for day in days if any(day in each for each in ranges)]
    if not chosen:
        left = ", ".join(f"{each.first}..{each.last}" for each in ranges) or "none"
        raise UsageError(f"no day from {days.first} to {days.last} is unaccounted for", hint=f"days that are: {left}")
    charged: list[tuple[str, date]] = []
    for day in chosen:
        charged += _charge_day(workspace, day, reason.strip())
    with workspace.ledger.write() as connection:
        gone = set(chosen)
        set_unaccounted(connection, [day for each in unaccounted(connection) for day in each if day not in gone])
        return Assumed(tuple(charged), unaccounted(connection))


def _charge_day(workspace: Workspace, day: date, reason: str) -> list[tuple[str, date]]:
    """Charges one day's lost values; account and day of each charge."""
    period, charged = period_of(day), []
    for metric in METRICS:
        book = BudgetBook(workspace.ledger, workspace.settings)
        terms, totals = book.terms(metric, period), book.totals(period)
        values = merge_events(book.search_charge(terms.name), repeat_event(terms.mechanism.event(), 1))
        with workspace.ledger.write() as connection:
            if day in _accounted_for(connection, metric):
                continue
            now = workspace.advance_clock(connection)
            account = open_account(connection, terms, totals, period=period, now=now)
            # a charge of its own: like any opening it counts in every 365 days that touch the month
            shared_noise_charge = (
                () if has_assumed_shared_noise_charge(connection, account) else terms.shared_noise_charge
            )
            why = {"reason": reason}
            if shared_noise_charge:
                _charge(connection, account, day, shared_noise_charge, {**why, ASSUMED_SHARED_NOISE: True}, now)
            _charge(connection, account, day, values, why, now)
        charged.append((account.metric, day))
    return charged


def _charge(
    connection: Connection,
    account: accounts.Account,
    day: date,
    counts: EventCounts,
    outcome: Mapping[str, Any],
    now: datetime,
) -> None:
    events = [event for event, count in counts for _ in range(count)]
    accounts.insert_charge(connection, account, day=day, kind="assumed", events=events, outcome=outcome, now=now)


def parse_days(text: str) -> DayRange:
    """The days written as `FROM..TO`, or one day.

    Raises:
        UsageError: They are not.
    """
    first, _, last = text.partition("..")
    try:
        found: Sequence[date] = [date.fromisoformat(first), date.fromisoformat(last or first)]
    except ValueError:
        raise UsageError(f"{text!r} are no days", hint="write FROM..TO, as 2026-03-01..2026-03-07") from None
    if found[1] < found[0]:
        raise UsageError(f"{text}: the last day lies before the first", hint="exchange the two")
    return DayRange(found[0], found[1])
