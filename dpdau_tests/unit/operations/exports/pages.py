"""Reading the report page as a browser would: tags that close in order, and what would be loaded."""

from __future__ import annotations

import html.parser
from collections.abc import Sequence

from dpdau_assets.core.quantities import METRICS
from dpdau_assets.operations.exports.report_page import MonthBudget, Page, Spent
from dpdau_tests.unit.operations.exports.waves import points

VOID = {"meta", "link"}


def page(days: int, *, missing: Sequence[int] = (), is_private: bool = True) -> Page:
    """A page over `days` days for each metric."""
    spent = Spent(1.2, 3.0, 1.8, days)
    month = MonthBudget("2025-01", dict.fromkeys(METRICS, spent), Spent(2.2, 6.0, 3.8, 3 * days))
    return Page(
        series={metric: points(days, missing=missing) for metric in METRICS},
        window_days={"dau": 1, "wau": 7, "mau": 30},
        months=[month],
        delta=1e-6,
        timezone="UTC",
        is_private=is_private,
        shares_noise=True,
        true_positive_rate=0.09,
        version="0.0",
    )


class Balance(html.parser.HTMLParser):
    """Collects tags and attributes and checks that tags close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.problems: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [str(value) for name, value in attrs if name in ("src", "href", "xlink:href", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [str(value) for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.problems.append(tag)


def read(document: str) -> Balance:
    """The document, parsed."""
    parser = Balance()
    parser.feed(document)
    parser.close()
    return parser
