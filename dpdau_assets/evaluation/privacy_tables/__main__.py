"""`make privacy-tables`: computes the tables and figures of docs/privacy.md and writes them between their markers.

It takes some minutes, for years of mixed noise and for months that are drawn number by number. With `--check` nothing
is written: the exact tables of the page are compared with what is computed, the simulated ones with theory and with a
new simulation; the exit code is 1 when something differs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from dpdau_assets.errors import DpdauError
from dpdau_assets.evaluation.privacy_tables.document import differences, named, written
from dpdau_assets.evaluation.privacy_tables.figures import draw_figures
from dpdau_assets.evaluation.privacy_tables.page import IMAGES, PAGE, tables_of
from dpdau_assets.evaluation.privacy_tables.simulation import MONTHS, Simulation
from dpdau_assets.settings.settings import project_root


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the tables and figures, or compare them; 0 when all is well."""
    parser = argparse.ArgumentParser(prog="make privacy-tables", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    parser.add_argument("--months", type=int, default=MONTHS, help="simulated months of each mechanism")
    parser.add_argument("--page", type=Path, default=project_root() / PAGE, help="the page")
    options = parser.parse_args(arguments)
    try:
        return _check(options.page, options.months) if options.check else _write(options.page, options.months)
    except DpdauError as error:
        sys.stderr.write(f"make privacy-tables: {error.message}\n")
        return 1


def _write(page: Path, months: int) -> int:
    simulation, text = Simulation(months), page.read_text(encoding="utf-8")
    tables = tables_of(named(text), simulation, tell=_progress)
    text = written(text, tables)
    far = differences(text, tables)
    if far:
        _tell(far)
        return 1
    images = draw_figures(simulation, page.parent / IMAGES.name)
    page.write_text(text, encoding="utf-8")
    _tell([f"{page}: {len(tables)} tables", *(f"{image}" for image in images)])
    return 0


def _check(page: Path, months: int) -> int:
    text = page.read_text(encoding="utf-8")
    tables = tables_of(named(text), Simulation(months), tell=_progress)
    again = {name: table for name, table in tables.items() if table.is_simulated}
    found = differences(text, tables)
    found += [f"a new simulation, {what}" for what in differences(written(text, again), again)]
    _tell(found or [f"{page}: every table is as computed"])
    return 1 if found else 0


def _progress(name: str) -> None:
    sys.stderr.write(f"  {name}\n")


def _tell(lines: Sequence[str]) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    sys.exit(main())
