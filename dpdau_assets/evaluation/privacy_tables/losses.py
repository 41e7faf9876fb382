"""The tables of loss: what months and years cost, what that means to an attacker, what misfortunes cost.

Every epsilon is by privacy loss distributions (dp_accounting), every share of true positives from the same
distributions. Belongs here: exact tables about loss. Does not belong here: errors of values (`errors`).
"""

from __future__ import annotations

import math
from datetime import date, timedelta
from functools import lru_cache

from dpdau_assets.core.accounting.attacker import gaussian_true_positives, true_positive_bound
from dpdau_assets.core.accounting.pld import PldAccountant
from dpdau_assets.core.accounting.snapshot import bounds
from dpdau_assets.core.dp_events import EventCounts, merge_events, repeat_event
from dpdau_assets.core.mechanisms.correlated import CorrelatedGaussian, correlated_gaussian
from dpdau_assets.core.mechanisms.joint import joint_gaussian
from dpdau_assets.core.mechanisms.planning import PeriodPlan
from dpdau_assets.core.probability.gaussian_dp import gaussian_mu
from dpdau_assets.core.quantities import METRICS, period_of
from dpdau_assets.evaluation.privacy_tables.document import Table
from dpdau_assets.evaluation.privacy_tables.scenarios import (
    DEFAULTS,
    DELTA,
    MONTH,
    RESERVE,
    for_ids,
    metric_noise,
    month_of,
    month_of_all,
    releases_made,
    year_of_all,
)
from dpdau_assets.operations.budget.trailing_loss import TrailingLoss

FALSE_POSITIVES = (0.01, 0.001)
CHOICES = (0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 29.0)
"""Losses to choose from."""


@lru_cache(maxsize=256)
def loss(events: EventCounts) -> float:
    """Epsilon at the default delta."""
    return PldAccountant().bound(events, delta=DELTA).epsilon


def composed_losses() -> Table:
    """A month of each metric, a month of all and a year of all, under each mechanism."""
    cases = (
        ("`laplace`, as many as fit", "laplace", 0),
        ("`gaussian`, every day", "gaussian", 0),
        ("`correlated`, every day", "correlated", 0),
        (f"`correlated`, every day and {RESERVE} revisions", "correlated", RESERVE),
        ("`joint`, every day", "joint", 0),
        (f"`joint`, every day and {RESERVE} revisions", "joint", RESERVE),
    )
    rows = [_composed(*case) for case in cases]
    caps = [f"{DEFAULTS.cap_of(metric):.1f}" for metric in METRICS]
    limits = ["the caps", "", *caps, f"{DEFAULTS.total_budget_month:.1f}", f"{DEFAULTS.total_budget_365d:g}"]
    head = ("mechanism", "releases", "DAU", "WAU", "MAU", "all three, a month", "all three, 12 months")
    return Table(head, tuple(tuple(row) for row in [*rows, limits]))


def _composed(label: str, name: str, revisions: int) -> tuple[str, ...]:
    if name == "joint":
        singles, made = ["one account"] * 3, str(MONTH + revisions)
    else:
        singles = [f"{loss(month_of(name, metric, revisions=revisions)):.3f}" for metric in METRICS]
        numbers = [releases_made(name, metric, MONTH, revisions=revisions) for metric in METRICS]
        made = str(numbers[0]) if len(set(numbers)) == 1 else ", ".join(map(str, numbers))
    if name == "laplace":
        return label, made, *singles, "at the cap", "at the cap"
    totals = month_of_all(name, revisions=revisions), year_of_all(name, revisions=revisions)
    return label, made, *singles, *(f"{loss(events):.2f}" for events in totals)


def accountants() -> Table:
    """The four bounds of a month that is released in full, as `dpdau budget` shows them."""
    rows = []
    for name in ("gaussian", "correlated"):
        for metric in METRICS:
            found = bounds(
                month_of(name, metric, revisions=0),
                delta=DELTA,
                **DEFAULTS.accounting,
            )
            shown = [f"{bound.epsilon:.2f}" if bound else "none" for bound in found.values()]
            rows.append((f"`{name}`, {metric.upper()}", *shown, f"{DEFAULTS.cap_of(metric):.1f}"))
    return Table(("a month of 31 days", "naive", "advanced", "RDP", "PLD", "cap"), tuple(rows))


def attackers() -> Table:
    """What an attacker who knows all but one user reaches, by what was released."""
    correlated = metric_noise("correlated", "dau")
    one = merge_events(correlated.shared_noise_charge(), repeat_event(correlated.event(), 1))
    full = RESERVE
    cases: list[tuple[str, EventCounts]] = [
        ("one DAU value, `correlated`", one),
        *(
            (f"a month of {metric.upper()}, `correlated`", month_of("correlated", metric, revisions=full))
            for metric in METRICS
        ),
        ("**a month of all three, `correlated`**", month_of_all("correlated", revisions=full)),
        ("**twelve months of all three, `correlated`**", year_of_all("correlated", revisions=full)),
        ("a month of all three, `joint`", month_of_all("joint", revisions=full)),
        ("twelve months of all three, `joint`", year_of_all("joint", revisions=full)),
        ("a month of all three, `gaussian`", month_of_all("gaussian")),
        ("twelve months of all three, `gaussian`", year_of_all("gaussian")),
        ("a month of DAU, `laplace`", month_of("laplace", "dau")),
    ]
    rows = [(label, f"{loss(events):.2f}", *_recognised(events)) for label, events in cases]
    return Table(("what is seen", "epsilon", *_recognised_head()), tuple(rows))


def _recognised_head() -> tuple[str, ...]:
    return tuple(f"recognised at {100 * share:g} % false alarms" for share in FALSE_POSITIVES)


def _recognised(events: EventCounts) -> list[str]:
    return [_percent(true_positive_bound(events, false_positives=share)) for share in FALSE_POSITIVES]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def choices() -> Table:
    """Losses, what they mean, and the error that they buy over a month."""
    rows = []
    for epsilon in CHOICES:
        mu = gaussian_mu(epsilon, DELTA)
        shares = [_percent(gaussian_true_positives(mu, false_positives=share)) for share in FALSE_POSITIVES]
        plan = PeriodPlan(MONTH + RESERVE, epsilon, DELTA)
        errors = math.sqrt(correlated_gaussian(plan).noise_variance()), max(joint_gaussian(plan).noise_stddevs())
        rows.append((f"{epsilon:g}", f"{mu:.3f}", *shares, *(f"{error:.1f}" for error in errors)))
    head = ("epsilon", "mu", *_recognised_head(), "error of one metric", "error of each of three, `joint`")
    return Table(head, tuple(rows))


def several_ids() -> Table:
    """What a person with several ids loses."""
    rows = []
    for ids in (1, 2, 3):
        months = [month_of("correlated", metric, revisions=RESERVE) for metric in METRICS]
        total = for_ids(month_of_all("correlated", revisions=RESERVE), ids)
        shown = [f"{loss(for_ids(events, ids)):.2f}" for events in months]
        rows.append((str(ids), *shown, f"{loss(total):.2f}", *_recognised(total)))
    head = ("ids of the person", "DAU", "WAU", "MAU", "all three", *_recognised_head())
    return Table(head, tuple(rows))


def misfortunes() -> Table:
    """What a month of DAU at its cap of 3.0 becomes when something outside of the promise happens."""
    noise = metric_noise("correlated", "dau")
    assert isinstance(noise, CorrelatedGaussian)
    month, planned = month_of("correlated", "dau", revisions=RESERVE), noise.planned_releases
    exposed = for_ids(repeat_event(noise.event(), planned), noise.units_per_user)
    rows = [
        ("nothing goes wrong", f"{loss(month):.2f}"),
        ("the offset of the month becomes known (its key and the ledger are read)", f"{loss(exposed):.2f}"),
        (
            "the whole month is drawn a second time (what the journal prevents)",
            f"{loss(merge_events(month, month)):.2f}",
        ),
        (
            "one user id is exchanged for another, instead of added or removed: at most",
            f"{loss(for_ids(month, 2)):.2f}",
        ),
    ]
    return Table(("a month of DAU at its cap of 3.0", "epsilon"), tuple(rows))


def yearly_cap() -> Table:
    """The loss of 365 days as it is enforced: by RDP, with the whole offset of every month that is touched."""
    rows = [
        (f"{label}, RDP as enforced", f"{_trailing(revisions):.2f}")
        for label, revisions in (("every day", 0), (f"every day and {RESERVE} revisions a month", RESERVE))
    ]
    total = year_of_all("correlated", revisions=RESERVE)
    rows.append((f"every day and {RESERVE} revisions a month, twelve months by PLD", f"{loss(total):.2f}"))
    rows.append(("`TOTAL_BUDGET_365D`", f"{DEFAULTS.total_budget_365d:g}"))
    return Table(("365 days of all three, `correlated`", "epsilon"), tuple(rows))


def _trailing(revisions: int) -> float:
    """The worst window of 365 days over two years of full months."""
    first, days = date(2025, 1, 1), 730
    shared_noise_charges, daily = {}, {}
    for day in (first + timedelta(days=number) for number in range(days)):
        length = _length(day)
        noises = [metric_noise("correlated", metric, length) for metric in METRICS]
        made = 1 + (revisions if day.day == 1 else 0)
        daily[day] = merge_events(*(repeat_event(noise.event(), made) for noise in noises))
        shared_noise_charges[period_of(day)] = merge_events(*(noise.shared_noise_charge() for noise in noises))
    book = TrailingLoss(daily, orders=DEFAULTS.rdp_orders, delta=DELTA, shared_noise_charges=shared_noise_charges)
    return max(book.worst_window(first + timedelta(days=number), ())[1] for number in range(364, days, 14))


def _length(day: date) -> int:
    following = date(day.year + day.month // 12, day.month % 12 + 1, 1)
    return (following - day.replace(day=1)).days
