"""The sliding sums of 365 days against the plain definition."""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache

import numpy as np
import pytest

from dpdau_assets.core.accounting.rdp import epsilons_of_rdp, events_rdp, trailing_orders
from dpdau_assets.core.accounting.snapshot import budget_snapshot
from dpdau_assets.core.dp_events import (
    DiscreteGaussianEvent,
    EventCounts,
    PureDpEvent,
    count_events,
    merge_events,
    repeat_event,
)
from dpdau_assets.core.mechanisms.calibration import mechanism_from
from dpdau_assets.core.mechanisms.interface import Mechanism
from dpdau_assets.core.mechanisms.planning import PeriodPlan
from dpdau_assets.core.quantities import METRICS, DayRange, Metric, days_of_period, period_of
from dpdau_assets.operations.budget.trailing_loss import TrailingLoss
from dpdau_assets.settings.settings import Settings

START = date(2024, 1, 1)
ORDERS = (2.0, 4.0, 8.0, 16.0, 32.0)
DELTA = 1e-6
SETTINGS = Settings()
REVISIONS = SETTINGS.revision_reserve
GAUSSIAN = count_events([DiscreteGaussianEvent(10.0)])
STRONG = count_events([DiscreteGaussianEvent(4.0), PureDpEvent(0.05)])


def plain_worst(daily: dict[date, EventCounts], day: date, extra: EventCounts) -> float:
    """The largest epsilon over every window of 365 days around `day`, one window at a time."""
    orders = trailing_orders(ORDERS)
    worst = 0.0
    for shift in range(365):
        last = day + timedelta(days=shift)
        inside = [events for when, events in daily.items() if last - timedelta(days=364) <= when <= last]
        rdp = events_rdp(merge_events(*inside, extra), orders)
        worst = max(worst, float(epsilons_of_rdp(rdp, orders, delta=DELTA).min()))
    return worst


@pytest.fixture
def daily() -> dict[date, EventCounts]:
    """Some charged days over two and a half years, seeded."""
    generator = np.random.default_rng(7)
    chosen = generator.choice(900, size=120, replace=False)
    return {START + timedelta(days=int(offset)): STRONG if offset % 3 == 0 else GAUSSIAN for offset in chosen}


def loss_of(daily: dict[date, EventCounts]) -> TrailingLoss:
    """The structure under test, filled day by day in no order."""
    loss = TrailingLoss({}, orders=ORDERS, delta=DELTA)
    for day, events in daily.items():
        loss.add(day, events)
    return loss


class TestTrailingLoss:
    @pytest.mark.parametrize("offset", [-400, -1, 0, 200, 450, 899, 1300])
    @pytest.mark.one_is_enough
    def test_the_worst_window_is_that_of_the_definition(self, daily: dict[date, EventCounts], offset: int) -> None:
        """Before, inside and after the charged days, the loss after a charge equals the window-by-window maximum."""
        day = START + timedelta(days=offset)
        for loss in (TrailingLoss(daily, orders=ORDERS, delta=DELTA), loss_of(daily)):
            before, after = loss.worst_window(day, STRONG)
            assert after == pytest.approx(plain_worst(daily, day, STRONG), rel=1e-9)
            assert 0 <= before <= after

    def test_fitting_is_having_every_window_within_the_cap(self, daily: dict[date, EventCounts]) -> None:
        """`fits` says yes exactly from the worst window's epsilon on."""
        loss = loss_of(daily)
        for offset in range(0, 900, 90):
            day = START + timedelta(days=offset)
            _, after = loss.worst_window(day, GAUSSIAN)
            assert loss.fits(day, GAUSSIAN, cap=after)
            assert not loss.fits(day, GAUSSIAN, cap=after * 0.9999)

    def test_later_days_count(self) -> None:
        """A charge for an old day is held against the days up to a year after it."""
        later = START + timedelta(days=364)
        loss = loss_of({later: STRONG})
        alone = loss_of({}).worst_window(START, STRONG)[1]
        assert loss.worst_window(START, STRONG)[1] > alone
        assert loss.worst_window(START - timedelta(days=1), STRONG)[1] == pytest.approx(alone)

    def test_nothing_charged_is_nothing_lost(self) -> None:
        """Empty windows have epsilon 0, before and after an empty charge."""
        assert loss_of({}).worst_window(START, ()) == (0.0, 0.0)

    def test_a_shared_noise_charge_counts_in_every_window_that_touches_its_month(self) -> None:
        """Worst window by definition: charges of days by their day, an opening by its month, wherever the day lies."""
        daily = {START + timedelta(days=offset): GAUSSIAN for offset in (0, 40, 420)}
        shared_noise_charges = {"2024-03": STRONG, "2025-02": GAUSSIAN}
        loss = TrailingLoss(daily, orders=ORDERS, delta=DELTA, shared_noise_charges=shared_noise_charges)
        orders = trailing_orders(ORDERS)
        for offset in (-370, -330, -300, 0, 59, 80, 91, 390, 423, 424, 425, 460, 800):
            day, worst = START + timedelta(days=offset), 0.0
            for shift in range(365):
                window = DayRange(day + timedelta(days=shift - 364), day + timedelta(days=shift))
                inside = [events for when, events in daily.items() if when in window]
                inside += [
                    events for month, events in shared_noise_charges.items() if _touches(window, days_of_period(month))
                ]
                rdp = events_rdp(merge_events(*inside, GAUSSIAN), orders)
                worst = max(worst, float(epsilons_of_rdp(rdp, orders, delta=DELTA).min()))
            assert loss.worst_window(day, GAUSSIAN)[1] == pytest.approx(worst, rel=1e-9)
            assert loss.fits(day, GAUSSIAN, cap=worst * 1.0001)
            assert not loss.fits(day, GAUSSIAN, cap=worst * 0.9999)

    @pytest.mark.parametrize("month", ["2025-02", "2026-01"])
    def test_the_loss_shown_is_the_loss_enforced(self, month: str) -> None:
        """Months filled with revisions, and the thirteenth opened: what is shown is the worst window, within 29."""
        last = days_of_period(month).first
        window = DayRange(last - timedelta(days=364), last)
        daily: dict[date, EventCounts] = {}
        shared_noise_charges: dict[str, EventCounts] = {}
        for day in window:
            noises = [full_month_noise(metric, len(days_of_period(period_of(day)))) for metric in METRICS]
            made = 1 + REVISIONS * (day.day == 1 or day == window.first)
            daily[day] = merge_events(*(repeat_event(noise.event(), made) for noise in noises))
            shared_noise_charges[period_of(day)] = merge_events(*(noise.shared_noise_charge() for noise in noises))
        assert len(shared_noise_charges) == 13
        everything = merge_events(*daily.values(), *shared_noise_charges.values())
        shown = budget_snapshot(
            "dau",
            last,
            3.0,
            DELTA,
            ORDERS,
            1e-7,
            events=(),
            trailing_events=everything,
            lifetime_events=everything,
            release_count=0,
            next_event=noises[0].event(),
        )
        enforced = TrailingLoss(
            daily, orders=ORDERS, delta=DELTA, shared_noise_charges=shared_noise_charges
        ).worst_window(last, ())[1]
        assert 28 < shown.trailing_365d_epsilon <= SETTINGS.total_budget_365d
        assert shown.trailing_365d_epsilon == pytest.approx(enforced, rel=1e-9)
        assert shown.lifetime_epsilon == shown.trailing_365d_epsilon


@cache
def full_month_noise(metric: Metric, days: int) -> Mechanism:
    """The correlated noise of a month at the default settings, revisions in reserve."""
    plan = PeriodPlan(days + REVISIONS, SETTINGS.cap_of(metric), DELTA)
    return mechanism_from("correlated", epsilon=SETTINGS.epsilon_of(metric), delta=DELTA, plan=plan)


def _touches(window: DayRange, month: DayRange) -> bool:
    return window.first <= month.last and month.first <= window.last
