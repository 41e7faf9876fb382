"""Budget snapshots that are computed once for each version of the ledger.

Belongs here: keeping what `snapshot` states for whoever asks many times a second. A charge, an account or a reset makes
a new version, and everything kept is forgotten: nothing outdated is ever given. Everything here is public.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import date
from typing import Any

from dpdau_assets.core.quantities import METRICS, days_of_period, period_of
from dpdau_assets.operations.budget.caps import BudgetBook
from dpdau_assets.operations.budget.earlier_names import earlier_names
from dpdau_assets.operations.budget.snapshot import snapshot
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.ledger import accounts, releases

MOST_KEPT = 4096
"""Snapshots of one version: twelve months of three metrics for a century; what goes beyond is computed again."""


class KeptSnapshots:
    """Budget documents of one open folder; threads may share it, and only one of them computes at a time.

    Args:
        workspace: The open data folder.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._computing = threading.Lock()
        self._book: BudgetBook | None = None
        self._kept: dict[tuple[int, str, date], dict[str, Any]] = {}

    def version(self) -> int:
        """The ledger's version: equal versions mean equal budgets and equal stored values."""
        with self._workspace.ledger.read() as connection:
            return accounts.version(connection)

    def of_month(self, metric: str, day: date) -> dict[str, Any]:
        """The budget document that stands beside a value of `metric` on `day`: of the day's whole month."""
        return self.of_day(metric, days_of_period(period_of(day)).last)

    def of_day(self, metric: str, day: date) -> dict[str, Any]:
        """The budget document of the month of `day`, with the trailing 365 days that end on `day`.

        Args:
            metric: `dau`, `wau` or `mau`.
            day: A day of the month.

        Returns:
            The document of what `report_budget` returns, and what `earlier_names` adds; not to be changed.
        """
        while True:
            version = self.version()
            found = self._kept.get((version, metric, day))
            if found is not None:
                return found
            with self._computing:
                document = self._kept.get((version, metric, day)) or self._compute(metric, day)
            if self.version() == version:
                self._keep((version, metric, day), document)
                return document

    def warm(self, *, is_stopped: Callable[[], bool] = lambda: False) -> None:
        """Computes the documents of the present month and of every month that has released values, the newest first.

        Args:
            is_stopped: Asked before each document whether to leave the rest.
        """
        for metric in METRICS:
            self.of_month(metric, self._workspace.today())
        with self._workspace.ledger.read() as connection:
            days = {metric: releases.released_days(connection, metric) for metric in METRICS}
        months = {(period_of(day), metric) for metric, released in days.items() for day in released}
        for period, metric in sorted(months, reverse=True):
            if is_stopped():
                return
            self.of_month(metric, days_of_period(period).last)

    def _compute(self, metric: str, day: date) -> dict[str, Any]:
        if self._book is None or self._book.version != self.version():
            self._book = BudgetBook(self._workspace.ledger, self._workspace.settings)
        stated = snapshot(self._book, self._workspace, metric, day)
        return {**stated.to_json(), **earlier_names(self._book, self._workspace, metric, stated)}

    def _keep(self, key: tuple[int, str, date], document: dict[str, Any]) -> None:
        kept = self._kept
        if len(kept) >= MOST_KEPT or any(version != key[0] for version, _, _ in list(kept)[:1]):
            kept = {}
        self._kept = {**kept, key: document}
