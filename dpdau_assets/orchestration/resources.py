"""The resources `lake`, `ledger` and `privacy_budget`: they hold the settings and hand out plain objects.

Dagster concept: resource. They are plain objects rather than configurable ones, because Dagster shows and stores
resource configuration, and the settings hold secrets. No rule belongs here: each method opens the data folder, calls
one operation and closes it again, so that no process keeps a ledger connection or an old salt store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import dagster as dg

from dpdau_assets.core.quantities import DayRange, Metric
from dpdau_assets.errors import NotReleasableError, Refusal
from dpdau_assets.operations.exports.export_metrics import export_metrics
from dpdau_assets.operations.exports.report import write_report
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_assets.operations.session.calendar import last_closed_day
from dpdau_assets.operations.session.open_workspace import open_workspace
from dpdau_assets.operations.session.workspace import Clock, Workspace, utc_now
from dpdau_assets.orchestration.failures import describe
from dpdau_assets.settings.settings import Settings
from dpdau_assets.storage.lake.layout import Layout

Answer = TypeVar("Answer")
Question = ParamSpec("Question")


@dataclass(frozen=True)
class LakeResource:
    """The data folder.

    Attributes:
        settings: All settings.
        clock: Gives an aware time; tests pass their own.
        synthetic: Whether a folder created now is for synthetic data for ever.
    """

    settings: Settings
    clock: Clock = utc_now
    synthetic: bool = False

    @property
    def inbox(self) -> Path:
        """Where sources are dropped."""
        return Layout(self.settings.root).inbox

    @contextmanager
    def open(self) -> Iterator[Workspace]:
        """The open data folder, created when missing; closed at the end of the block."""
        workspace = open_workspace(self.settings, clock=self.clock, synthetic=self.synthetic)
        try:
            yield workspace
        finally:
            workspace.close()


@dataclass(frozen=True)
class LedgerResource:
    """What is still to be done and what has been done; the ledger is the truth, Dagster is told."""

    lake: LakeResource

    def ask(
        self,
        question: Callable[Concatenate[Workspace, Question], Answer],
        *given: Question.args,
        **named: Question.kwargs,
    ) -> Answer:
        """The answer of a reading operation on the open data folder."""
        with self.lake.open() as workspace:
            return question(workspace, *given, **named)

    def now(self) -> datetime:
        """The time, aware, UTC; never before any time at which a release was made."""
        return self.ask(Workspace.now)

    def last_closed_day(self) -> date:
        """The newest day that may be built and released."""
        return last_closed_day(self.lake.settings, self.now())


@dataclass(frozen=True, slots=True)
class ReleaseOutcome:
    """What came of releasing a range of days (public whole).

    Attributes:
        bodies: The released values, new and stored ones.
        refused: Releases that do not fit under a cap.
        not_releasable: One line for each part of the range that the calendar refuses.
    """

    bodies: Sequence[Mapping[str, Any]]
    refused: Sequence[Refusal]
    not_releasable: Sequence[str]

    @property
    def is_complete(self) -> bool:
        """Whether everything asked for is released."""
        return not self.refused and not self.not_releasable


@dataclass(frozen=True)
class PrivacyBudgetResource:
    """The only way from an asset to a released number: every release passes the budget of its month."""

    lake: LakeResource

    def release(self, metrics: Sequence[Metric], days: DayRange) -> ReleaseOutcome:
        """Releases `metrics` for `days` in calendar order; open days are refused and do not stop earlier ones."""
        bodies: list[Mapping[str, Any]] = []
        refused: list[Refusal] = []
        not_releasable: list[str] = []
        last_closed = LedgerResource(self.lake).last_closed_day()
        with self.lake.open() as workspace:
            for part in split_at(days, last_closed):
                try:
                    published = publish_releases(workspace, metrics, part)
                except NotReleasableError as error:
                    not_releasable.append(describe(error))
                    continue
                bodies += published.bodies
                refused += published.refused
        return ReleaseOutcome(bodies, refused, not_releasable)

    def export(self) -> list[str]:
        """Writes the published files anew; their names."""
        with self.lake.open() as workspace:
            return [path.name for path in (*export_metrics(workspace), write_report(workspace))]


def split_at(days: DayRange, last: date) -> list[DayRange]:
    """`days` as the part up to `last` and the part after it, without empty parts."""
    if days.last <= last or days.first > last:
        return [days]
    closed = DayRange(days.first, last)
    return [closed, DayRange(closed.widened(after=1).last, days.last)]


def resources(lake: LakeResource) -> dict[str, dg.ResourceDefinition]:
    """The resources by name, with the descriptions Dagster shows."""

    def plain(value: object, description: str) -> dg.ResourceDefinition:
        return dg.ResourceDefinition(lambda _context: value, description=description)

    return {
        "lake": plain(lake, "The data folder: Parquet files by asset and day, behind one lock for writers."),
        "ledger": plain(LedgerResource(lake), "What is pending, built and released; the truth that Dagster is told."),
        "privacy_budget": plain(
            PrivacyBudgetResource(lake), "Releases numbers under the monthly caps: check, charge and draw in one step."
        ),
    }
