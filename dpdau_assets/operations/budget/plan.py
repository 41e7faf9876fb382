"""What a month of releases would be worth and cost, before anything is spent: a preview that reads and never writes.

Belongs here: playing the charges of a month through the caps in the order in which releases would make them. Does not
belong here: any rule of its own about noise or caps (`terms`, `caps`), nor a value's error (`precision`). Everything
is public.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from dpdau_assets.core.accounting.snapshot import releases_that_fit, smallest_epsilon
from dpdau_assets.core.dp_events import NO_EVENTS, EventCounts, merge_events, repeat_event
from dpdau_assets.core.quantities import METRICS, Metric, days_of_period, period_of
from dpdau_assets.errors import UsageError
from dpdau_assets.operations.budget.caps import SCOPES, BudgetBook, Scope
from dpdau_assets.operations.budget.precision import Precision, next_precision
from dpdau_assets.operations.budget.terms import JOINT
from dpdau_assets.operations.session.calendar import days_of_series
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.settings.settings import Settings
from dpdau_assets.storage.ledger import accounts

MONTHS_AHEAD = 1200


@dataclass(frozen=True, slots=True)
class MetricPlan:
    """The month of one metric; public.

    Attributes:
        metric: `dau`, `wau` or `mau`.
        period: Calendar month `YYYY-MM`.
        is_open: Whether its account is open, so that noise and cap are settled.
        mechanism: Which noise.
        sketch_impl: Which sketch.
        epsilon: Loss of one release at `delta`, an opening apart.
        delta: Delta of that statement.
        precision: How far a value would err.
        epsilon_cap: Cap of its account.
        epsilon_spent: What the account has spent.
        epsilon_at_end: What it would have spent after all of `releases_planned` that are funded.
        releases_that_fit: How many more fit under the account's own cap.
        releases_planned: Days of the month in the series that are not released yet.
        releases_funded: How many of these fit under every cap when all metrics are released day by day.
        runs_out_on: The first day that would be refused, or None.
        refused_by: The cap that would refuse it: `metric`, `month` or `trailing_365d`.
    """

    metric: Metric
    period: str
    is_open: bool
    mechanism: str
    sketch_impl: str
    epsilon: float
    delta: float
    precision: Precision
    epsilon_cap: float
    epsilon_spent: float
    epsilon_at_end: float
    releases_that_fit: int
    releases_planned: int
    releases_funded: int
    runs_out_on: date | None
    refused_by: Scope | None

    def to_json(self) -> dict[str, Any]:
        """The plan as a document, JSON types only; the precision's fields among its own."""
        fields = {name: getattr(self, name) for name in type(self).__slots__ if name != "precision"}
        precision = {name: getattr(self.precision, name) for name in Precision.__slots__}
        return {**fields, **precision, "runs_out_on": self.runs_out_on and self.runs_out_on.isoformat()}


def plan_releases(
    workspace: Workspace, proposed: Settings, metrics: Sequence[Metric] = METRICS, *, period: str | None = None
) -> list[MetricPlan]:
    """What the releases of a month would cost and how far they would err; nothing is written.

    All three metrics are released on every day, as the schedule does it; `metrics` only chooses whose plan is returned.

    Args:
        workspace: The open data folder.
        proposed: The settings in force, or with other privacy parameters: then the month is one that no account has
            settled yet.
        metrics: Whose plans to return.
        period: Calendar month `YYYY-MM`; default the present one, or the first one without an account when `proposed`
            differs from the settings in force.

    Raises:
        UsageError: The month's accounts are open already and `proposed` differs from the settings in force.
        ConfigurationError: Releases with these parameters are refused.
    """
    is_changed = proposed != workspace.settings
    book = BudgetBook(workspace.ledger, proposed)
    chosen = _period(workspace, period, is_changed=is_changed)
    days = _planned_days(proposed, chosen)
    simulation = _MonthSimulation(book, proposed, chosen, days)
    simulation.run()
    return [_plan(simulation, metric) for metric in METRICS if metric in metrics]


def _period(workspace: Workspace, period: str | None, *, is_changed: bool) -> str:
    present = f"{workspace.now().astimezone(workspace.settings.zone):%Y-%m}"
    candidate = period or present
    if not is_changed:
        return candidate
    with workspace.ledger.read() as connection:
        if period is not None and accounts.accounts_of_period(connection, period):
            raise UsageError(
                f"the accounts of {period} are open: their noise and caps are settled",
                hint="a change starts with the next month; leave --month out to plan for it",
            )
        for _ in range(MONTHS_AHEAD):
            if not accounts.accounts_of_period(connection, candidate):
                break
            candidate = period_of(date.fromordinal(days_of_period(candidate).last.toordinal() + 1))
    return candidate


def _planned_days(settings: Settings, period: str) -> list[date]:
    """The days of the month that belong to the series."""
    month = days_of_period(period)
    return list(days_of_series(settings, month, unset_start=month.first) or ())


class _MonthSimulation:
    """The charges of a month, one after the other."""

    def __init__(self, book: BudgetBook, settings: Settings, period: str, days: Sequence[date]) -> None:
        self.book, self.settings, self.period = book, settings, period
        names = dict.fromkeys(book.account_name(metric, period) for metric in METRICS)
        self.metrics = {name: METRICS[0] if name == JOINT else name for name in names}
        self.terms = {name: book.terms(metric, period) for name, metric in self.metrics.items()}
        # what an account's next release pays beside its own event
        self.extra = {
            name: merge_events(terms.shared_noise_charge, book.search_charge(name))
            for name, terms in self.terms.items()
        }
        self.planned = {
            name: [day for day in days if day not in book.released_days(metric)]
            for name, metric in self.metrics.items()
        }
        self.funded = dict.fromkeys(names, 0)
        self.refused: dict[str, tuple[date, Scope]] = {}

    def run(self) -> None:
        """Plays the month, in the order in which releases are made."""
        scopes = SCOPES[2:] if self._fits_fully() else SCOPES
        for day in sorted({day for days in self.planned.values() for day in days}):
            for name in self.metrics:
                if day in self.planned[name]:
                    self._charge(name, day, scopes)

    def _fits_fully(self) -> bool:
        """Whether everything planned fits under the accounts' caps and the month's: then no part need be asked."""
        first, everything = days_of_period(self.period).first, NO_EVENTS
        for name, terms in self.terms.items():
            planned = repeat_event(terms.mechanism.event(), len(self.planned[name]))
            whole = merge_events(self.extra[name] if planned else NO_EVENTS, planned)
            everything = merge_events(everything, whole)
            if self.book.refused_by(self.metrics[name], first, whole, scopes=SCOPES[:1]):
                return False
        return self.book.refused_by(METRICS[0], first, everything, scopes=SCOPES[1:2]) is None

    def _charge(self, name: str, day: date, scopes: Sequence[Scope]) -> None:
        """Makes the charge of one day, or notes which cap refuses it."""
        known, metric = self.refused.get(name), self.metrics[name]
        if known is not None and known[1] != "trailing_365d":
            return  # spending only grows, so that the same charge does not fit later in the month either
        terms = self.book.terms(metric, self.period)
        own = merge_events(self.book.search_charge(name), repeat_event(terms.mechanism.event(), 1))
        scope = self.book.refused_by(metric, day, merge_events(terms.shared_noise_charge, own), scopes=scopes)
        if scope is None:
            self.funded[name] += 1
            self.book.plan_charge(metric, day, shared_noise_charge=terms.shared_noise_charge, events=own)
        else:
            self.refused.setdefault(name, (day, scope))


def _plan(simulation: _MonthSimulation, metric: Metric) -> MetricPlan:
    name = JOINT if JOINT in simulation.terms else metric
    terms = simulation.terms[name]
    charged = merge_events(terms.events, simulation.extra[name])
    options = simulation.settings.accounting
    fitting = releases_that_fit(charged, terms.mechanism.event(), terms.cap, delta=terms.cap_delta, **options)

    def epsilon(events: EventCounts) -> float:
        return smallest_epsilon(events, delta=terms.cap_delta, **options) if events else 0.0

    day, scope = simulation.refused.get(name, (None, None))
    last = simulation.book.last_release(metric)
    return MetricPlan(
        metric=metric,
        period=simulation.period,
        is_open=terms.account is not None,
        mechanism=terms.mechanism.name,
        sketch_impl=simulation.settings.sketch_impl,
        epsilon=terms.mechanism.epsilon,
        delta=terms.mechanism.delta,
        precision=next_precision(simulation.settings, terms.mechanism, last, metric=metric, period=simulation.period),
        epsilon_cap=terms.cap,
        epsilon_spent=epsilon(terms.events),
        epsilon_at_end=epsilon(simulation.book.terms(metric, simulation.period).events),
        releases_that_fit=fitting,
        releases_planned=len(simulation.planned[name]),
        releases_funded=simulation.funded[name],
        runs_out_on=day,
        refused_by=scope,
    )
