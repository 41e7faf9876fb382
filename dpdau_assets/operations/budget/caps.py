"""Whether a further charge fits under every cap, decided from one state of the ledger, before any transaction opens.

Belongs here: what has been charged (`BudgetBook`), the caps, refusals with their amounts, the next funded day. Does not
belong here: which account pays and with what noise (`terms`), writing anything (`publish_release`).

Three caps hold at once: that account's; the month over all metrics and all accounts, those before a
reset included; every window of 365 days that the day lies in, over all metrics. All of it is public.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Literal, get_args

from sqlalchemy import Connection

from dpdau_assets.core.accounting.rdp import TRAILING_DAYS
from dpdau_assets.core.accounting.snapshot import fits, smallest_epsilon
from dpdau_assets.core.dp_events import NO_EVENTS, EventCounts, merge_events, repeat_event
from dpdau_assets.core.quantities import ONE_DAY, days_of_period, period_of
from dpdau_assets.errors import Refusal
from dpdau_assets.operations.budget.sampling_threshold import search_charge
from dpdau_assets.operations.budget.terms import JOINT, Terms, account_name, make_terms
from dpdau_assets.operations.budget.trailing_loss import TrailingLoss
from dpdau_assets.settings.settings import Settings
from dpdau_assets.storage.keys.shared_noise_keys import SharedNoiseKeys
from dpdau_assets.storage.lake.lake import Lake
from dpdau_assets.storage.ledger import accounts as budget
from dpdau_assets.storage.ledger import releases
from dpdau_assets.storage.ledger.ledger import Ledger
from dpdau_assets.storage.ledger.releases import Release
from dpdau_assets.storage.ledger.shared_noise_charges import shared_noise_charges_between

Scope = Literal["metric", "month", "trailing_365d"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
"""The caps, in the order in which they are asked."""

FUNDED_WITHIN_DAYS = 800
"""How far ahead the next funded day is looked for: no window of 365 days stays full for longer."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What all metrics together may spend for a day of a month: frozen by the month's first account, never raised.

    Attributes:
        month_cap: Epsilon cap of the month.
        month_delta: Delta at which it is compared.
        year_cap: Epsilon cap of every 365 days that hold the day.
    """

    month_cap: float
    month_delta: float
    year_cap: float


def open_account(connection: Connection, terms: Terms, totals: Totals, *, period: str, now: datetime) -> budget.Account:
    """The account of some terms: the open one, or a new one, whose mechanism, parameters and caps are frozen for life.

    Args:
        connection: A write transaction.
        terms: Its noise and caps.
        totals: What all metrics together may spend.
        period: Calendar month `YYYY-MM`.
        now: The time.
    """
    return terms.account or budget.open_account(
        connection,
        terms.name,
        period,
        mechanism=terms.mechanism.name,
        parameters=terms.mechanism.parameters,
        epsilon_cap=terms.cap,
        delta=terms.cap_delta,
        month_cap=totals.month_cap,
        year_cap=totals.year_cap,
        now=now,
    )


class BudgetBook:
    """What has been charged, as of `version` of the ledger or later; read when first needed, then kept in step.

    A decision may be acted on only in a write transaction that finds the ledger still at `version`: then nothing read
    here since can be outdated.

    Args:
        ledger: Where the charges are.
        settings: Caps, deltas, orders, and the mechanism of accounts that are not open yet.
        searched: Metrics whose first sampling threshold is taken for found, as planning does after their first release.
    """

    def __init__(self, ledger: Ledger, settings: Settings, *, searched: Collection[str] = ()) -> None:
        self._ledger = ledger
        self._settings = settings
        self._searched = searched
        self._keys = SharedNoiseKeys(Lake(settings.root).shared_noise_keys_folder, ledger.ledger_id)
        self.refresh()

    def refresh(self) -> None:
        """Forgets everything read so far."""
        self._terms: dict[tuple[str, str], Terms] = {}
        self._names: dict[tuple[str, str], str] = {}
        self._months: dict[str, EventCounts] = {}
        self._totals: dict[str, Totals] = {}
        self._last_releases: dict[str, Release | None] = {}
        self._released_days: dict[str, frozenset[date]] = {}
        self._trailing: TrailingLoss | None = None
        self._trailing_from = date.max
        with self._ledger.read() as connection:
            self.version = budget.version(connection)

    def account_name(self, metric: str, period: str) -> str:
        """Whose account pays for `metric` in `period`: its own, or `joint`."""
        if (metric, period) not in self._names:
            with self._ledger.read() as connection:
                name = account_name(connection, metric, period, mechanism=self._settings.mechanism)
            self._names[metric, period] = name
        return self._names[metric, period]

    def terms(self, metric: str, period: str) -> Terms:
        """How the next release of `metric` in `period` is made."""
        name = self.account_name(metric, period)
        if (name, period) not in self._terms:
            with self._ledger.read() as connection:
                account = budget.current_account(connection, name, period)
                accounts = budget.accounts_of(connection, name, period)
                events = budget.events_of_account(connection, account) if account else ()
            self._terms[name, period] = self._terms_of(
                name, period, account, [known.delta for known in accounts], events
            )
        return self._terms[name, period]

    def _terms_of(
        self, name: str, period: str, account: budget.Account | None, deltas: Sequence[float], events: EventCounts
    ) -> Terms:
        return make_terms(
            self._settings,
            self._keys,
            name,
            period,
            account=account,
            month_mechanism=None if account else self._month_mechanism(period),
            deltas=deltas,
            events=events,
            reserved=NO_EVENTS if account else self.search_charge(name),
        )

    def _month_mechanism(self, period: str) -> str | None:
        """Mechanism of the month's newest account, None when it has none."""
        with self._ledger.read() as connection:
            held = budget.accounts_of_period(connection, period)
        return held[-1].mechanism if held else None

    def search_charge(self, name: str) -> EventCounts:
        """What the next release of an account pays for the search of a first sampling threshold; empty for none."""
        is_first = name != JOINT and name not in self._searched and self.last_release(name) is None
        return search_charge(self._settings, is_first=is_first)

    def totals(self, period: str) -> Totals:
        """What all metrics together may spend for a day of `period`: the smallest of its accounts' and the settings."""
        if period not in self._totals:
            settings = self._settings
            with self._ledger.read() as connection:
                accounts = budget.accounts_of_period(connection, period)
            self._totals[period] = Totals(
                month_cap=min([settings.total_budget_month, *(account.month_cap for account in accounts)]),
                month_delta=min([settings.delta, *(account.delta for account in accounts)]),
                year_cap=min([settings.total_budget_365d, *(account.year_cap for account in accounts)]),
            )
        return self._totals[period]

    def month_events(self, period: str) -> EventCounts:
        """Everything charged in a month, over all metrics and accounts."""
        if period not in self._months:
            with self._ledger.read() as connection:
                self._months[period] = budget.events_of_period(connection, period)
        return self._months[period]

    def trailing(self, day: date) -> TrailingLoss:
        """Everything charged for days whose windows of 365 days can hold `day` or a later day."""
        if self._trailing is None or day < self._trailing_from:
            first = day - timedelta(days=TRAILING_DAYS - 1)
            with self._ledger.read() as connection:
                daily = budget.daily_events(connection, first, date.max)
                shared_noise_charges = shared_noise_charges_between(connection, first, date.max)
                known = budget.smallest_delta(connection)
            delta = min(self._settings.delta, known or self._settings.delta)
            self._trailing = TrailingLoss(
                daily, orders=self._settings.rdp_orders, delta=delta, shared_noise_charges=shared_noise_charges
            )
            self._trailing_from = day
        return self._trailing

    def last_release(self, metric: str) -> Release | None:
        """The newest release of `metric` in the order of the ledger, whatever its day."""
        if metric not in self._last_releases:
            with self._ledger.read() as connection:
                self._last_releases[metric] = releases.last_release(connection, metric)
        return self._last_releases[metric]

    def released_days(self, metric: str) -> frozenset[date]:
        """Days of which `metric` is released."""
        if metric not in self._released_days:
            with self._ledger.read() as connection:
                self._released_days[metric] = frozenset(releases.released_days(connection, metric))
        return self._released_days[metric]

    def refused_by(
        self, metric: str, day: date, events: EventCounts, *, scopes: Sequence[Scope] = SCOPES
    ) -> Scope | None:
        """The first of some caps under which `events` charged for `day` do not fit; None for none.

        Args:
            metric: The metric.
            day: The day to release.
            events: What the release would charge.
            scopes: The caps to ask; the caller knows that the others allow it.
        """
        for scope in scopes:
            if scope == "trailing_365d":
                is_within = self.trailing(day).fits(day, events, cap=self.totals(period_of(day)).year_cap)
            else:
                spent, cap, delta = self._account_or_month(scope, metric, period_of(day))
                is_within = fits(merge_events(spent, events), cap, delta=delta, **self._settings.accounting)
            if not is_within:
                return scope
        return None

    def _account_or_month(self, scope: Scope, metric: str, period: str) -> tuple[EventCounts, float, float]:
        """What is charged under the cap of an account or a month, the cap, and the delta at which it is compared."""
        if scope == "metric":
            terms = self.terms(metric, period)
            return terms.events, terms.cap, terms.cap_delta
        totals = self.totals(period)
        return self.month_events(period), totals.month_cap, totals.month_delta

    def refusal(self, metric: str, day: date, events: EventCounts) -> Refusal | None:
        """Why `events` may not be charged for `day`, or None when they fit under every cap.

        Args:
            metric: The metric.
            day: The day to release.
            events: What the release would charge.
        """
        period, scope = period_of(day), self.refused_by(metric, day, events)
        if scope is None:
            return None
        if scope == "trailing_365d":
            trailing, cap = self.trailing(day), self.totals(period).year_cap
            (before, after), delta = trailing.worst_window(day, events), trailing.delta
        else:
            spent, cap, delta = self._account_or_month(scope, metric, period)
            options = self._settings.accounting
            before, after = (
                smallest_epsilon(part, delta=delta, **options) for part in (spent, merge_events(spent, events))
            )
        return Refusal(metric, day, period, scope, before, cap, after, delta, None)

    def charged(
        self,
        day: date,
        *,
        shared_noise_charge: EventCounts,
        events: EventCounts,
        account: budget.Account,
        releases: Sequence[Release],
        version: int,
    ) -> None:
        """Notes a charge of our own, committed in a transaction that began at `self.version`.

        Args:
            day: The released day.
            shared_noise_charge: What was charged for shared noise.
            events: What else was charged.
            account: The account charged, as it is now.
            releases: What was released.
            version: The ledger's version after the charge.
        """
        period, paid = period_of(day), merge_events(shared_noise_charge, events)
        known = self._terms[account.metric, period]
        self._terms[account.metric, period] = self._terms_of(
            account.metric, period, account, [account.delta], merge_events(known.events, paid)
        )
        self._add_to_totals(day, shared_noise_charge=shared_noise_charge, events=events)
        if any(self._last_releases.get(release.metric) is None for release in releases):
            self._terms = {key: terms for key, terms in self._terms.items() if terms.account}  # no search any more
        for release in releases:
            self._last_releases[release.metric] = release
            self._released_days.pop(release.metric, None)
        self.version = version

    def plan_charge(self, metric: str, day: date, *, shared_noise_charge: EventCounts, events: EventCounts) -> None:
        """Counts a charge that is only planned: what is asked from now on is as if it had been made.

        Args:
            metric: The metric.
            day: The released day.
            shared_noise_charge: What is charged for shared noise.
            events: What else is charged.
        """
        terms, period = self.terms(metric, period_of(day)), period_of(day)
        spent = merge_events(terms.events, shared_noise_charge, events)
        self._terms[terms.name, period] = replace(terms, shared_noise_charge=NO_EVENTS, events=spent)
        self.month_events(period)
        self.trailing(day)
        self._add_to_totals(day, shared_noise_charge=shared_noise_charge, events=events)
        self._searched = {*self._searched, terms.name}

    def _add_to_totals(self, day: date, *, shared_noise_charge: EventCounts, events: EventCounts) -> None:
        """Keeps what was read of the month and of the trailing days in step with a charge."""
        period = period_of(day)
        if period in self._months:
            self._months[period] = merge_events(self._months[period], shared_noise_charge, events)
        if self._trailing is not None:
            self._trailing.add(day, events)
            if shared_noise_charge:
                self._trailing.add_shared_noise_charge(period, shared_noise_charge)

    def releases_under_totals(self, metric: str, day: date, *, at_most: int) -> int:
        """How many further releases of `metric` for `day` the two totals allow, up to `at_most`."""
        terms = self.terms(metric, period_of(day))

        def enough(releases: int) -> bool:
            more = merge_events(terms.shared_noise_charge, repeat_event(terms.mechanism.event(), releases))
            return self.refused_by(metric, day, more, scopes=SCOPES[1:]) is None

        if enough(at_most):
            return at_most
        return max(0, bisect_left(range(1, at_most + 1), True, key=lambda releases: not enough(releases)))

    def next_funded_day(self, metric: str, first: date) -> date | None:
        """The first day from `first` on that is not released yet and whose release would fit under every cap.

        None when there is none within 800 days. Whether the day is closed, or in the series, is not asked.
        """
        day, end, released = first, first + timedelta(days=FUNDED_WITHIN_DAYS), self.released_days(metric)
        while day <= end:
            events = self.terms(metric, period_of(day)).next_charge
            if day in released or self.refused_by(metric, day, events, scopes=SCOPES[2:]):
                day += ONE_DAY
            elif self.refused_by(metric, day, events, scopes=SCOPES[:2]):
                day = days_of_period(period_of(day)).last + ONE_DAY  # they refuse the rest of the month as well
            else:
                return day
        return None

    def with_next_funded_days(self, refused: Sequence[Refusal]) -> tuple[Refusal, ...]:
        """`refused`, in calendar order, each naming the first day after it that can still be released."""
        found: dict[str, tuple[date, date | None]] = {}
        completed = []
        for refusal in reversed(refused):
            metric, following = refusal.metric, refusal.day + ONE_DAY
            known_from, answer = found.get(metric, (None, None))
            if known_from != following:
                answer = self.next_funded_day(metric, following)
            # the refused day is not fundable: what is next after it is next from it on
            found[metric] = (refusal.day, answer)
            completed.append(replace(refusal, next_funded_day=answer))
        return tuple(reversed(completed))
