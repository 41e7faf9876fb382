"""Which tables and figures docs/privacy.md has.

Belongs here: their names. Does not belong here: how they are made, or how they are written (`document`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from dpdau_assets.errors import DataError
from dpdau_assets.evaluation.privacy_tables import attacks, errors, horizons, losses
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


def simulated(simulation: Simulation) -> dict[str, Callable[[], Table]]:
    """Tables that set simulated months beside theory, by name."""
    return {
        "simulated-errors": simulation.error_table,
        "simulated-attacks": lambda: attacks.attack_table(simulation),
        "simulated-sketches": simulation.sketch_table,
        "simulated-horizons": lambda: horizons.simulated_horizons(simulation.months, simulation.noise),
    }


def tables_of(
    names: Iterable[str], simulation: Simulation, *, tell: Callable[[str], None] = lambda _: None
) -> dict[str, Table]:
    """Tables by name.

    Args:
        names: Names of tables.
        simulation: The simulated months.
        tell: Told of each table before it is computed.

    Raises:
        DataError: There is no table of a name.
    """
    known, tables = {**EXACT, **simulated(simulation)}, {}
    for name in names:
        if name not in known:
            raise DataError(f"nothing computes a table called {name}", hint=f"use one of {', '.join(known)}")
        tell(name)
        tables[name] = known[name]()
    return tables
