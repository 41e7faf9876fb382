"""Tables in a page: how they are written between their markers, found again, and compared.

A table stands between `<!-- table: NAME -->` and `<!-- end of table -->`. Exact tables are compared as text. In a
simulated table each row ends with theory, simulation and standard error; another simulation gives other digits, so that
a row is held to its theory instead, within a number of its standard errors.

Belongs here: text in, text out. Does not belong here: any number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dpdau_assets.errors import DataError

STANDARD_ERRORS = 4.5
"""How far a simulated figure may lie from its theory: further once in 150,000 rows."""
_BLOCK = re.compile(r"(<!-- table: ([a-z-]+) -->\n)(.*?)(<!-- end of table -->)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Table:
    """One table, as text.

    Attributes:
        head: Names of the columns.
        rows: Cells as printed.
        is_simulated: Whether the last three columns are theory, simulated figure and standard error.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    is_simulated: bool = False

    def markdown(self) -> str:
        """The table as it stands in a page."""
        lines = [self.head, ("---",) * len(self.head), *self.rows]
        return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def written(page: str, tables: Mapping[str, Table]) -> str:
    """The page with its tables replaced.

    Args:
        page: The page as it is.
        tables: Tables by name; those of the page that are not among them stay.
    """

    def replaced(block: re.Match[str]) -> str:
        begin, name, _, end = block.groups()
        return f"{begin}{tables[name].markdown()}{end}" if name in tables else block.group()

    return _BLOCK.sub(replaced, page)


def named(page: str) -> dict[str, str]:
    """The text of each table of a page, by name.

    Raises:
        DataError: Two tables have one name.
    """
    blocks = [(name, text) for _, name, text, _ in _BLOCK.findall(page)]
    if len(dict(blocks)) < len(blocks):
        raise DataError("two tables of the page have one name", hint="give each table a name of its own")
    return dict(blocks)


def differences(page: str, tables: Mapping[str, Table]) -> list[str]:
    """What in a page is not as computed, in words; empty when all is.

    Args:
        page: The page.
        tables: The tables that it must hold.
    """
    found, stated = [], named(page)
    for name, table in tables.items():
        if name not in stated:
            found.append(f"{name}: the page has no such table")
        elif table.is_simulated:
            found += [f"{name}: {what}" for what in _far_rows(stated[name], table)]
        elif stated[name] != table.markdown():
            found += [f"{name}: {what}" for what in _other_rows(stated[name], table)]
    return found


def cells_of(text: str) -> list[list[str]]:
    """The rows of a table's text below its head."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:]]


def far(simulated: Sequence[str]) -> bool:
    """Whether a row's simulated figure lies too far from its theory; the row's last cells are read.

    Args:
        simulated: Theory, simulated figure and standard error, as printed.
    """
    theory, figure, error = (float(cell.rstrip(" %").replace(",", "")) for cell in simulated)
    rounding = 10.0 ** -len(simulated[1].rstrip(" %").partition(".")[2])
    return abs(figure - theory) > STANDARD_ERRORS * error + rounding


def _far_rows(text: str, table: Table) -> list[str]:
    stated = cells_of(text)
    if [row[:-2] for row in stated] != [list(row[:-2]) for row in table.rows]:
        return ["its rows or their theory are not as computed"]
    return [f"{', '.join(row[:-3])}: {row[-2]} where theory says {row[-3]}" for row in stated if far(row[-3:])]


def _other_rows(text: str, table: Table) -> list[str]:
    stated = cells_of(text)
    pairs = zip(stated, table.rows, strict=False)
    found = [f"it says {' | '.join(one)}, computed is {' | '.join(other)}" for one, other in pairs if one != [*other]]
    return found or ["its head or its number of rows is not as computed"]
