"""The event sets of the published check table, shared by the accounting tests."""

from __future__ import annotations

from dpdau_assets.core.dp_events import DiscreteGaussianEvent, DiscreteLaplaceEvent, DpEvent, merge_events, repeat_event
from dpdau_assets.core.mechanisms.calibration import mechanism_from

DELTA = 1e-6
ADVANCED_DELTA = 1e-7
ORDERS = (2.0, 4.0, 8.0, 16.0, 32.0)
LIBRARY_ORDERS = (*(1 + x / 10 for x in range(1, 100)), *map(float, range(11, 64)), 128.0, 256.0, 512.0, 1024.0)
"""dp_accounting's DEFAULT_RDP_ORDERS."""
SHARED = {"delta": DELTA, "advanced_delta": ADVANCED_DELTA, "rdp_orders": ORDERS}

LAPLACE_30 = repeat_event(DiscreteLaplaceEvent(10.0), 30)
GAUSSIAN_30 = repeat_event(DiscreteGaussianEvent(23.14), 30)
DEFAULTS = {"dau": (0.3, 3.0), "wau": (0.4, 3.0), "mau": (0.5, 3.5)}
"""Default epsilon and monthly cap of each metric."""


def default_event(metric: str, mechanism: str = "gaussian") -> DpEvent:
    """The event of one release at the default settings."""
    return mechanism_from(mechanism, epsilon=DEFAULTS[metric][0], delta=DELTA).event()


FULL_MONTH = merge_events(*(repeat_event(default_event(metric), 31) for metric in DEFAULTS))
