"""Ledger rows of the privacy budget: accounts, charges, releases, resets.

Belongs here: `accounts`, `charges`, `releases`, `resets`. Does not belong here: what events cost (`core.accounting`),
whether a release may be made (`operations.publish_release`).

A release is made in one write transaction, in this order: check that `version` is still the one for which the bounds
were computed (otherwise roll back and compute again), check that `find_release` finds nothing, `current_account` or
`open_account`, `insert_charge`, the draw, `insert_release`. Because a write transaction excludes every other, nothing
read in it can be outdated at commit.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from functools import lru_cache
from typing import Any, Literal, get_args

from sqlalchemy import ColumnElement, Connection, String, func, insert, literal, select, type_coerce, update

from dpdau_assets.core.dp_events import DpEvent, EventCounts, count_events, event_from_json, event_to_json, merge_events
from dpdau_assets.storage.ledger.journal_entries import add_journal_entry
from dpdau_assets.storage.ledger.ledger import inserted_number, time_text
from dpdau_assets.storage.ledger.schema import IS_OF_A_DAY, accounts, charges, resets

ChargeKind = Literal["release", "revision", "threshold", "opening", "assumed"]
CHARGE_KINDS: tuple[ChargeKind, ...] = get_args(ChargeKind)


@dataclass(frozen=True, slots=True)
class Account:
    """One budget account, frozen at its first charge (public).

    Attributes:
        account: Its number.
        metric: The metric.
        period: Calendar month `YYYY-MM`.
        generation: 1, or higher after resets.
        mechanism: Name of the mechanism.
        parameters: The mechanism's parameters as JSON.
        epsilon_cap: Cap on the composed loss.
        delta: The delta at which the caps hold.
        month_cap: Cap on the month's loss over all metrics, as it was set when the account was opened.
        year_cap: Cap on the loss of any 365 days, as it was set when the account was opened.
        opened_at: UTC ISO time.
        sealed_offset: The account's shared noise, encrypted; None where its mechanism has none.
    """

    account: int
    metric: str
    period: str
    generation: int
    mechanism: str
    parameters: Mapping[str, Any]
    epsilon_cap: float
    delta: float
    month_cap: float
    year_cap: float
    opened_at: str
    sealed_offset: str | None = None


@dataclass(frozen=True, slots=True)
class Reset:
    """One approved further account (public)."""

    reset: int
    metric: str
    period: str
    generation: int
    reason: str
    reset_at: str


_VERSION = select(
    sum(
        (
            func.coalesce(select(func.max(column)).scalar_subquery(), 0)
            for column in (accounts.c.account, charges.c.charge, resets.c.reset)
        ),
        literal(0),
    )
)


def version(connection: Connection) -> int:
    """Returns a number that grows with every account, charge and reset, and with nothing else.

    The row numbers of these never decrease and are never reused, so equal versions mean equal budgets.
    """
    return int(connection.scalar(_VERSION) or 0)


def current_generation(connection: Connection, metric: str, period: str) -> int:
    """1, or the generation opened by the last reset of that metric and month."""
    query = select(func.max(resets.c.generation)).where(resets.c.metric == metric, resets.c.period == period)
    return int(connection.scalar(query) or 1)


def current_account(connection: Connection, metric: str, period: str) -> Account | None:
    """The open account; None before the first charge of the current generation."""
    generation = current_generation(connection, metric, period)
    return next((found for found in accounts_of(connection, metric, period) if found.generation == generation), None)


def accounts_of(connection: Connection, metric: str, period: str) -> list[Account]:
    """All accounts of a metric and month, oldest generation first."""
    query = select(accounts).where(accounts.c.metric == metric, accounts.c.period == period)
    return [Account(**row._mapping) for row in connection.execute(query.order_by(accounts.c.generation))]


def accounts_of_period(connection: Connection, period: str) -> list[Account]:
    """All accounts of a month, over all metrics, in the order in which they were opened."""
    query = select(accounts).where(accounts.c.period == period).order_by(accounts.c.account)
    return [Account(**row._mapping) for row in connection.execute(query)]


def smallest_delta(connection: Connection) -> float | None:
    """The smallest delta that any account was opened with; None when there is none."""
    found: float | None = connection.scalar(select(func.min(accounts.c.delta)))
    return found


def open_account(
    connection: Connection,
    metric: str,
    period: str,
    *,
    mechanism: str,
    parameters: Mapping[str, Any],
    epsilon_cap: float,
    delta: float,
    month_cap: float,
    year_cap: float,
    now: datetime,
) -> Account:
    """Opens the account of the current generation and returns it.

    Args:
        connection: A write transaction.
        metric: The metric.
        period: Calendar month `YYYY-MM`.
        mechanism: Name of the mechanism, fixed for the account's life.
        parameters: Its parameters, fixed for the account's life as well.
        epsilon_cap: Cap on the composed loss.
        delta: The delta at which the caps hold.
        month_cap: Cap on the month's loss over all metrics.
        year_cap: Cap on the loss of any 365 days.
        now: The time.

    Raises:
        InternalError: The account is open already; raised at the end of the caller's block.
    """
    values: dict[str, Any] = {
        "metric": metric,
        "period": period,
        "generation": current_generation(connection, metric, period),
        "mechanism": mechanism,
        "parameters": dict(parameters),
        "epsilon_cap": epsilon_cap,
        "delta": delta,
        "month_cap": month_cap,
        "year_cap": year_cap,
        "opened_at": time_text(now),
    }
    number = inserted_number(connection, insert(accounts).values(**values))
    add_journal_entry(connection, "account", {"account": number, **values})
    return Account(account=number, **values)


def set_sealed_offset(connection: Connection, account: Account, sealed: str) -> Account:
    """Stores the encrypted shared noise of an account opened in this transaction; returns the account with it."""
    connection.execute(update(accounts).where(accounts.c.account == account.account).values(sealed_offset=sealed))
    add_journal_entry(connection, "offset", {"account": account.account, "sealed_offset": sealed})
    return replace(account, sealed_offset=sealed)


def insert_charge(
    connection: Connection,
    account: Account,
    *,
    day: date,
    kind: ChargeKind,
    events: Iterable[DpEvent],
    outcome: Mapping[str, Any] | None = None,
    now: datetime,
) -> int:
    """Charges events to an account and returns the charge's number.

    Args:
        connection: A write transaction.
        account: The current account of the day's month.
        day: The released day.
        kind: `release`, `revision`, `threshold` for the search of a first threshold, `opening` for shared noise,
            `assumed` for a value or for shared noise that is lost.
        events: The events to charge, at least one.
        outcome: What a threshold search found, or why something is assumed (public once charged).
        now: The time.
    """
    values: dict[str, Any] = {
        "account": account.account,
        "metric": account.metric,
        "period": account.period,
        "kind": kind,
        "events": [event_to_json(event) for event in events],
        "outcome": None if outcome is None else dict(outcome),
        "charged_at": time_text(now),
    }
    number = inserted_number(connection, insert(charges).values(day=day, **values))
    # The entry holds the complete account: the line that opened it may be lost, and this charge must still count.
    opened = {**asdict(account), "parameters": dict(account.parameters)}
    add_journal_entry(connection, "charge", {"charge": number, "day": str(day), **values, "opened": opened})
    return number


def assumed_days(connection: Connection, names: Iterable[str]) -> set[date]:
    """Returns the days charged as released although their values are lost, in the accounts of the given metrics."""
    query = select(charges.c.day).where(charges.c.kind == "assumed", charges.c.metric.in_(list(names)))
    return set(connection.scalars(query))


def events_of_account(connection: Connection, account: Account, *, kinds: Iterable[str] = CHARGE_KINDS) -> EventCounts:
    """Everything charged to one account, by some kinds of charges."""
    return _events(connection, charges.c.account == account.account, charges.c.kind.in_(kinds))


def events_of_metric(connection: Connection, metric: str, period: str) -> EventCounts:
    """Everything charged to a metric in a month, over all generations."""
    return _events(connection, charges.c.metric == metric, charges.c.period == period)


def events_of_period(connection: Connection, period: str, *, kinds: Iterable[str] = CHARGE_KINDS) -> EventCounts:
    """Everything charged in a month, over all metrics and generations, by some kinds of charges."""
    return _events(connection, charges.c.period == period, charges.c.kind.in_(kinds))


def lifetime_events(connection: Connection, metric: str | None = None) -> EventCounts:
    """Everything ever charged, for one metric or all."""
    return _events(connection, *(() if metric is None else (charges.c.metric == metric,)))


def daily_events(
    connection: Connection, first: date, last: date, *, kinds: Iterable[str] = CHARGE_KINDS
) -> dict[date, EventCounts]:
    """Returns the charges for each released day, over all metrics and generations; days without charges are left out.

    Charges for shared noise are left out, because they belong to a month (`shared_noise_charges_between`).
    """
    stored = type_coerce(charges.c.events, String)
    query = (
        select(charges.c.day, stored, func.count())
        .where(charges.c.day.between(first, last), IS_OF_A_DAY, charges.c.kind.in_(kinds))
        .group_by(charges.c.day, stored)
    )
    parts: dict[date, list[EventCounts]] = {}
    for day, document, count in connection.execute(query):
        parts.setdefault(day, []).append(_times(parsed_events(document), count))
    return {day: merge_events(*found) for day, found in sorted(parts.items())}


def _events(connection: Connection, *conditions: ColumnElement[bool]) -> EventCounts:
    stored = type_coerce(charges.c.events, String)
    query = select(stored, func.count()).select_from(charges).where(*conditions).group_by(stored)
    return merge_events(*(_times(parsed_events(document), count) for document, count in connection.execute(query)))


@lru_cache(maxsize=4096)
def parsed_events(document: str) -> EventCounts:
    """The events of a charge in the form in which the ledger stores them."""
    return count_events(event_from_json(event) for event in json.loads(document))


def _times(events: EventCounts, count: int) -> EventCounts:
    return tuple((event, number * count) for event, number in events)


def record_reset(connection: Connection, metric: str, period: str, *, reason: str, now: datetime) -> Reset:
    """Opens the next generation of a metric and month; the first charge will open its account."""
    values: dict[str, Any] = {
        "metric": metric,
        "period": period,
        "generation": current_generation(connection, metric, period) + 1,
        "reason": reason,
        "reset_at": time_text(now),
    }
    number = inserted_number(connection, insert(resets).values(**values))
    add_journal_entry(connection, "reset", {"reset": number, **values})
    return Reset(reset=number, **values)


def resets_of(connection: Connection, metric: str, period: str) -> list[Reset]:
    """The resets of a metric and month, oldest first."""
    query = select(resets).where(resets.c.metric == metric, resets.c.period == period).order_by(resets.c.generation)
    return [Reset(**row._mapping) for row in connection.execute(query)]
