"""The charges for the shared noise of accounts: those of kind `opening`, and those of kind `assumed` for lost noise.

Belongs here: reading these charges. Writing them belongs to `accounts`, as for any charge, and their meaning to
`core.mechanisms.correlated`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection, String, func, select, type_coerce

from dpdau_assets.core.dp_events import EventCounts, merge_events
from dpdau_assets.core.quantities import period_of
from dpdau_assets.storage.ledger.accounts import CHARGE_KINDS, Account, parsed_events
from dpdau_assets.storage.ledger.ledger import parse_time
from dpdau_assets.storage.ledger.schema import (
    IS_ASSUMED_SHARED_NOISE_CHARGE,
    IS_SHARED_NOISE_CHARGE,
    SHARED_NOISE_KIND,
    charges,
)


@dataclass(frozen=True, slots=True)
class LastSharedNoiseCharge:
    """The newest charge for the shared noise of an account (public)."""

    account: int
    period: str
    charged_at: datetime


def shared_noise_charges_between(
    connection: Connection, first: date, last: date, *, kinds: Iterable[str] = CHARGE_KINDS
) -> dict[str, EventCounts]:
    """What was charged for shared noise in each month that the days from `first` to `last` touch, over all metrics.

    A charge belongs to all days of its month, because every window of days that touches the month has seen its noise.
    This includes a charge that is only assumed because the values that used the noise are lost.
    """
    stored = type_coerce(charges.c.events, String)
    query = select(charges.c.period, stored).where(
        IS_SHARED_NOISE_CHARGE, charges.c.kind.in_(kinds), charges.c.period.between(period_of(first), period_of(last))
    )
    found: dict[str, EventCounts] = {}
    for period, document in connection.execute(query):
        found[period] = merge_events(found.get(period, ()), parsed_events(document))
    return found


def has_assumed_shared_noise_charge(connection: Connection, account: Account) -> bool:
    """Returns whether the account is charged for shared noise that is lost."""
    query = (
        select(charges.c.charge).where(charges.c.account == account.account, IS_ASSUMED_SHARED_NOISE_CHARGE).limit(1)
    )
    return connection.scalar(query) is not None


def last_shared_noise_charges(connection: Connection, accounts: Iterable[int]) -> list[LastSharedNoiseCharge]:
    """The newest charge for shared noise of each account in `accounts`; accounts without one are left out.

    An assumed charge does not count, because no key belongs to it.
    """
    query = (
        select(charges.c.account, charges.c.period, func.max(charges.c.charged_at))
        .where(charges.c.kind == SHARED_NOISE_KIND, charges.c.account.in_(sorted(set(accounts))))
        .group_by(charges.c.account, charges.c.period)
    )
    return [LastSharedNoiseCharge(int(row[0]), row[1], parse_time(row[2])) for row in connection.execute(query)]
