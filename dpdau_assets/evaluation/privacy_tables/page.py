"""Which tables and figures docs/privacy.md has.

Belongs here: their names. Does not belong here: how they are made, or how they are written (`document`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dpdau_assets.evaluation.privacy_tables import errors, horizons, losses
from dpdau_assets.evaluation.privacy_tables.document import Table
from dpdau_assets.evaluation.privacy_tables.simulation import Simulation

PAGE = Path("docs/privacy.md")
IMAGES = Path("docs/images")

EXACT: dict[str, Callable[[], Table]] = {
    "noise": errors.noises,
    "calibration": errors.calibrations,
    "losses": losses.composed_losses,
    "accountants": losses.accountants,
    "year": losses.yearly_cap,
    "attackers": losses.attackers,
    "choices": losses.choices,
    "ids": losses.several_ids,
    "misfortunes": losses.misfortunes,
    "horizons": horizons.long_horizons,
    "differences": errors.differences_of_days,
    "orders": errors.orders_of_metrics,
    "sketches": errors.sketch_errors,
}
"""Exact tables by name."""
LONG = frozenset({"losses", "attackers", "choices", "ids", "year", "horizons"})
"""Those that take many seconds: they compose a year, or plan many months."""


def exact_tables(names: frozenset[str] | None = None) -> dict[str, Table]:
    """The exact tables, or some of them."""
    return {name: make() for name, make in EXACT.items() if names is None or name in names}


def simulated_tables(simulation: Simulation) -> dict[str, Table]:
    """The tables that set simulated months beside theory."""
    return {
        "simulated-errors": simulation.error_table(),
        "simulated-attacks": simulation.attacker_table(),
        "simulated-sketches": simulation.sketch_table(),
        "simulated-horizons": horizons.simulated_horizons(simulation.months, simulation.noise),
    }
