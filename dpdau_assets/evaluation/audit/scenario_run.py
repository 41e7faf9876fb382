"""Runs of a scenario: what arrives and what is asked goes through the real operations in a folder of its own.

Belongs here: the steps, removing one user from a scenario, and collecting everything that leaves. Nothing here looks at
a number before noise (`recorder`).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from dpdau_assets.core.dp_events import EventCounts
from dpdau_assets.core.quantities import METRICS, DayRange, Metric
from dpdau_assets.errors import BudgetExhaustedError, DpdauError
from dpdau_assets.evaluation.audit.recorder import Reading, Recorder
from dpdau_assets.evaluation.privacy_settings import PRIVACY_SETTINGS
from dpdau_assets.evaluation.streams.simulate import event_line
from dpdau_assets.operations.budget.shared_noise import shared_noise_keys
from dpdau_assets.operations.budget.snapshot import report_budget
from dpdau_assets.operations.erase.request import request_erasure
from dpdau_assets.operations.exports.export_metrics import export_metrics
from dpdau_assets.operations.exports.report import write_report
from dpdau_assets.operations.ingest.stage import stage_files
from dpdau_assets.operations.pipeline.bring_up_to_date import bring_up_to_date
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_assets.operations.session.open_workspace import open_workspace
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.settings.settings import Settings
from dpdau_assets.storage.ledger import accounts as budget
from dpdau_assets.storage.ledger import erasures, releases
from dpdau_assets.storage.ledger.releases import Release as StoredRelease

RUN_SALT = "the salt of the audit's made users"
"""Both runs hash users alike: a sketch depends on the salt, and the salt is not what is compared."""
KEPT_SETTINGS = (
    *PRIVACY_SETTINGS,
    "mechanism",
    "sketch_impl",
)
"""What an audit takes over from the settings that are in force."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of a source: a user, a day, `+` or `-`."""

    user: str
    day: date
    op: str = "+"


@dataclass(frozen=True, slots=True)
class Ingest:
    """A batch arrives and is staged, not yet folded."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Erase:
    """Users ask to be erased; the request stays pending. Without users nobody asks."""

    users: tuple[str, ...]
    through: date


@dataclass(frozen=True, slots=True)
class Build:
    """Partitions are brought up to date, by a schedule."""

    days: DayRange


@dataclass(frozen=True, slots=True)
class React:
    """As the erasure sensor does: partitions are brought up to date if, and only if, an erasure is pending."""

    days: DayRange


@dataclass(frozen=True, slots=True)
class Release:
    """Releases, or revisions when there is a reason, are asked for."""

    days: DayRange
    metrics: tuple[Metric, ...] = METRICS
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Publish:
    """Exports and the report are written, and the budgets of a month are asked for."""

    period: str


@dataclass(frozen=True, slots=True)
class Wait:
    """The clock goes on."""

    until: datetime


Step: TypeAlias = Ingest | Erase | Build | React | Release | Publish | Wait
Steps: TypeAlias = tuple[Step, ...]


def without(steps: Steps, user: str) -> Steps:
    """The neighbouring scenario: the same, but this user never existed."""
    kept: list[Step] = []
    for step in steps:
        if isinstance(step, Ingest):
            kept.append(replace(step, entries=tuple(entry for entry in step.entries if entry.user != user)))
        elif isinstance(step, Erase):
            kept.append(replace(step, users=tuple(name for name in step.users if name != user)))
        else:
            kept.append(step)
    return tuple(kept)


@dataclass(frozen=True, slots=True)
class Document:
    """One thing that left a run: its name, and its bytes."""

    name: str
    content: bytes


@dataclass(frozen=True)
class ScenarioRun:
    """What came of a scenario.

    Attributes:
        outside: Everything that left, in order: bodies, refusals, errors with exit codes, files.
        readings: Numbers before noise, in the order in which they were drawn on.
        draws: How many noise sources the recorder was asked for.
        accounts: The budget accounts that were opened.
        spent: Everything charged, by account number.
        releases: Everything released, all revisions.
        shared_noise: The shared noise of each account that has one.
    """

    outside: tuple[Document, ...]
    readings: tuple[Reading, ...]
    draws: int
    accounts: tuple[budget.Account, ...]
    spent: dict[int, EventCounts] = field(repr=False)
    releases: tuple[StoredRelease, ...] = field(repr=False)
    shared_noise: dict[int, int] = field(repr=False)


def run_settings(settings: Settings, folder: Path, *, series_start: date, **overrides: Any) -> Settings:
    """Settings of a run: the privacy parameters in force, everything else as audits need it."""
    kept = {name: getattr(settings, name) for name in KEPT_SETTINGS}
    made = {"data_dir": folder, "series_start": series_start, "hash_salt_secret": RUN_SALT, "duckdb_threads": 1}
    return Settings(**{**kept, **made, **overrides})


def run_scenario(steps: Steps, settings: Settings, recorder: Recorder, *, start: datetime) -> ScenarioRun:
    """Runs the steps in the folder of `settings`, which is removed before and after.

    Args:
        steps: What happens.
        settings: From `run_settings`.
        recorder: Takes the numbers before noise, and may give the noise.
        start: The time until the first `Wait`.

    Raises:
        DpdauError: A step other than a release failed.
    """
    shutil.rmtree(settings.root, ignore_errors=True)
    stage = _Stage(settings, start, recorder)
    try:
        for number, step in enumerate(steps):
            stage.take(number, step)
        return stage.scenario_run(recorder)
    finally:
        stage.workspace.close()
        shutil.rmtree(settings.root, ignore_errors=True)


class _Stage:
    """A run under way."""

    def __init__(self, settings: Settings, start: datetime, recorder: Recorder) -> None:
        self._now = start
        self.workspace: Workspace = open_workspace(
            settings, clock=lambda: self._now, synthetic=True, noise=recorder.noise, recorder=recorder
        )
        self._outside: list[Document] = []

    def take(self, number: int, step: Step) -> None:
        """Takes one step; what leaves is kept."""
        workspace = self.workspace
        if isinstance(step, Ingest):
            source = workspace.settings.root.with_name(f"arrival-{number}.jsonl")
            source.write_text("".join(event_line(entry.user, entry.day, entry.op) for entry in step.entries))
            stage_files(workspace, [source])
            source.unlink()
        elif isinstance(step, Erase):
            users = [name.encode() for name in step.users]
            if users:
                request_erasure(workspace, users, through=step.through, now=self._now)
        elif isinstance(step, Build):
            bring_up_to_date(workspace, step.days)
        elif isinstance(step, React):
            with workspace.ledger.read() as connection:
                is_pending = bool(erasures.pending(connection))
            if is_pending:
                bring_up_to_date(workspace, step.days)
        elif isinstance(step, Release):
            self._release(number, step)
        elif isinstance(step, Publish):
            self._publish(number, step.period)
        else:
            self._now = step.until

    def _release(self, number: int, step: Release) -> None:
        def answer() -> Any:
            published = publish_releases(
                self.workspace, step.metrics, step.days, revise=step.reason is not None, reason=step.reason
            )
            refused = BudgetExhaustedError(published.refused) if published.refused else None
            return {
                "bodies": published.bodies,
                "newly_released": published.newly_released,
                "refused": [asdict(refusal) for refusal in published.refused],
                "error": None if refused is None else _as_error(refused),
            }

        self._tell(f"{number} release {step.days.first} to {step.days.last}", answer)

    def _publish(self, number: int, period: str) -> None:
        for path in (*export_metrics(self.workspace), write_report(self.workspace)):
            self._outside.append(Document(f"{number} {path.name}", path.read_bytes()))
        for metric in METRICS:
            self._tell(f"{number} budget {metric}", partial(self._budget, metric, period))

    def _budget(self, metric: str, period: str) -> dict[str, Any]:
        return report_budget(self.workspace, metric, period).to_json()

    def _tell(self, name: str, answer: Callable[[], Any]) -> None:
        """Keeps an answer as its JSON document, or its error as a caller sees it: the exit code follows from it."""
        try:
            document = answer()
        except DpdauError as error:
            document = _as_error(error)
        self._outside.append(Document(name, json.dumps(document, default=str).encode()))

    def scenario_run(self, recorder: Recorder) -> ScenarioRun:
        """What became of it."""
        workspace = self.workspace
        with workspace.ledger.read() as connection:
            periods = sorted({release.day.isoformat()[:7] for release in releases.releases_between(connection)})
            accounts = [each for period in periods for each in budget.accounts_of_period(connection, period)]
            spent = {each.account: budget.events_of_account(connection, each) for each in accounts}
            published = releases.releases_between(connection, all_revisions=True)
        return ScenarioRun(
            tuple(self._outside),
            tuple(recorder.readings),
            recorder.draws,
            tuple(accounts),
            spent,
            tuple(published),
            _shared_noise(workspace, accounts),
        )


def _shared_noise(workspace: Workspace, accounts: Sequence[budget.Account]) -> dict[int, int]:
    """The offsets in use, opened as a release opens them."""
    keys = shared_noise_keys(workspace)
    found = {each.account: keys.open(each) for each in accounts if each.sealed_offset is not None}
    return {account: shared_noise for account, shared_noise in found.items() if shared_noise is not None}


def _as_error(error: DpdauError) -> dict[str, Any]:
    return {"error": error.code, "message": error.message, "hint": error.hint}
