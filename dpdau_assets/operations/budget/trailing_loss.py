"""Loss over every window of 365 days that a released day lies in, added up by Renyi order.

What was charged for a day counts in the windows that hold the day; what was charged for the offset of a month counts in
full in every window that touches the month, because each of its releases carries that offset.

Belongs here: the sliding sums that make a check of 365 windows cost microseconds. The divergences and their conversion
to epsilon are `core.accounting.rdp`. Everything is public.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import numpy as np
import numpy.typing as npt

from dpdau_assets.core.accounting.rdp import TRAILING_DAYS, epsilons_of_rdp, events_rdp, trailing_orders
from dpdau_assets.core.dp_events import EventCounts
from dpdau_assets.core.quantities import days_of_period


class TrailingLoss:
    """What was charged on each day, summed over any window of 365 days.

    Args:
        daily: Events charged for each day, over all metrics.
        orders: Orders of the setting RDP_ORDERS.
        delta: Delta at which epsilon is stated.
        shared_noise_charges: Events charged for the shared noise of each month, over all metrics.
    """

    def __init__(
        self,
        daily: Mapping[date, EventCounts],
        *,
        orders: tuple[float, ...],
        delta: float,
        shared_noise_charges: Mapping[str, EventCounts] | None = None,
    ) -> None:
        self._orders = trailing_orders(orders)
        self.delta = delta
        self._first = min(daily, default=date(1970, 1, 1)).toordinal()
        last = max(daily, default=date(1970, 1, 1)).toordinal()
        self._rdp = np.zeros((last - self._first + 1, len(self._orders)))
        for day, events in daily.items():
            self.add(day, events)
        self._shared_noise_charges: dict[str, npt.NDArray[np.float64]] = {}
        for period, events in (shared_noise_charges or {}).items():
            self.add_shared_noise_charge(period, events)

    def add(self, day: date, events: EventCounts) -> None:
        """Notes that `events` were charged for `day`."""
        row = day.toordinal() - self._first
        before, after = max(-row, 0), max(row + 1 - len(self._rdp), 0)
        if before or after:
            self._rdp = np.pad(self._rdp, ((before, after), (0, 0)))
            self._first -= before
        self._rdp[day.toordinal() - self._first] += events_rdp(events, self._orders)

    def add_shared_noise_charge(self, period: str, events: EventCounts) -> None:
        """Notes that `events` were charged for an offset of the month `period`."""
        self._shared_noise_charges[period] = self._shared_noise_charges.get(period, 0.0) + events_rdp(
            events, self._orders
        )

    def fits(self, day: date, events: EventCounts, *, cap: float) -> bool:
        """Whether every window of 365 days that `day` lies in stays within `cap` when `events` are charged for it."""
        windows, charged = self._windows(day), events_rdp(events, self._orders)
        # the largest divergence at each order bounds all windows at once: one conversion instead of 365
        if float(self._epsilons(windows.max(axis=0) + charged)) <= cap:
            return True
        return bool((self._epsilons(windows + charged) <= cap).all())

    def worst_window(self, day: date, events: EventCounts) -> tuple[float, float]:
        """Epsilon before and after `events` are charged for `day`, in the window of 365 days that they fill most."""
        windows = self._windows(day)
        after = self._epsilons(windows + events_rdp(events, self._orders))
        worst = int(np.argmax(after))
        return float(self._epsilons(windows[worst])), float(after[worst])

    def _windows(self, day: date) -> npt.NDArray[np.float64]:
        """Divergence of each window of 365 days that `day` lies in: float64[365, n_orders]."""
        width = TRAILING_DAYS - 1
        sums = np.zeros((2 * width + 2, len(self._orders)))
        start = day.toordinal() - width - self._first
        low, high = max(start, 0), min(start + 2 * width + 1, len(self._rdp))
        if high > low:
            sums[1 + low - start : 1 + high - start] = self._rdp[low:high]
        np.cumsum(sums, axis=0, out=sums)
        # rounding of a difference of sums must not make a divergence negative
        windows = np.maximum(sums[TRAILING_DAYS:] - sums[:-TRAILING_DAYS], 0.0)
        for period, rdp in self._shared_noise_charges.items():
            days = days_of_period(period)  # window i holds the days from day - 364 + i to day + i
            touching = slice(max(0, (days.first - day).days), max(0, (days.last - day).days + TRAILING_DAYS))
            windows[touching] += rdp
        return windows

    def _epsilons(self, rdp: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        epsilons = epsilons_of_rdp(rdp, self._orders, delta=self.delta).min(axis=-1)
        return np.where(rdp.any(axis=-1), epsilons, 0.0)
