"""From a closed day to a published number, step by step.

    1  the calendar      Only days of the series that are closed. Nothing about the data decides.
    2  what is stored    A published value is final: it is returned as it is and costs nothing.
    3  one snapshot      Everything accepted before this moment is built and counted, once, for all that is missing.
    4  day by day        Does the charge fit under every cap? Decided before the transaction, for one version of the
                         ledger. Then, in one write transaction: the version is compared, the account opened if this is
                         its first charge, the charge written, the noise drawn, the release stored.
    5  after the commit  is durable, and only then, the value leaves this file.

A day that does not fit is refused, and the days of a funded month go on. A charge without its release, or a draw that
was seen but not stored, cannot exist: both are written in the transaction that draws.

Does not belong here: what refuses before any budget is looked at (`release_rules`), how counts are made
(`counts_snapshot`), which caps there are (`caps`), what a loss is (`core.accounting`), what a value looks like
(`core.release`).
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from typing import Any, cast

from dpdau_assets.core.dp_events import NO_EVENTS, EventCounts, merge_events, repeat_event
from dpdau_assets.core.mechanisms.joint import JointGaussian
from dpdau_assets.core.quantities import METRICS, DayRange, Metric, period_of
from dpdau_assets.core.release.counts import Counts
from dpdau_assets.core.release.release import ReleaseResult
from dpdau_assets.errors import Refusal, UsageError
from dpdau_assets.operations.budget.caps import BudgetBook
from dpdau_assets.operations.budget.lost_releases import check_accounted
from dpdau_assets.operations.budget.sampling_threshold import SEARCH, sampling_threshold
from dpdau_assets.operations.budget.shared_noise import destroy_closed_shared_noise
from dpdau_assets.operations.budget.snapshot import release_bodies
from dpdau_assets.operations.budget.terms import JOINT, Terms
from dpdau_assets.operations.release.counts_snapshot import snapshot_counts
from dpdau_assets.operations.release.draw_release import Draw
from dpdau_assets.operations.release.release_rules import check_days, check_request, check_revisable, check_windows
from dpdau_assets.operations.session.progress import Progress, no_progress
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.ledger import accounts, releases

Pair = tuple[Metric, date]


@dataclass(frozen=True)
class Published:
    """What came of asking for releases (public whole).

    Attributes:
        results: Released values, new and stored, by day and metric as asked.
        refused: Releases that do not fit under a cap; nothing was charged for them.
        newly_released: Metric and day of the values drawn now.
    """

    results: tuple[ReleaseResult, ...]
    refused: tuple[Refusal, ...]
    newly_released: tuple[Pair, ...]
    workspace: Workspace = field(repr=False)

    @property
    def values(self) -> list[dict[str, Any]]:
        """The results as documents without their budget: at once, where `bodies` load the tightest bound."""
        return [result.public_fields() for result in self.results]

    @cached_property
    def bodies(self) -> list[dict[str, Any]]:
        """The results as documents, each with the state of its budget; seconds when first asked for."""
        return release_bodies(self.workspace, self.results)


def publish_releases(
    workspace: Workspace,
    metrics: Sequence[Metric],
    days: DayRange,
    *,
    revise: bool = False,
    reason: str | None = None,
    progress: Progress = no_progress,
) -> Published:
    """Released values of some metrics for a range of days; what is missing is released now, in calendar order.

    Each new value is (epsilon, delta)-DP by itself and charged, in the transaction that draws it, to the account of
    its metric and month; at most one value per metric and day is ever drawn, however many processes ask.

    Args:
        workspace: The open data folder.
        metrics: `dau`, `wau`, `mau` (public).
        days: Days to release (public).
        revise: Draw a new, charged revision of days that are already released.
        reason: Why, in public words; required by `revise`.
        progress: Told how many releases are done.

    Raises:
        UsageError: An unknown metric, or a revision without a reason or of a day that is not released.
        NotClosedError, OutsideSeriesError: The calendar refuses a day that is not stored; nothing was charged.
        ConfigurationError: The settings do not allow a release; nothing was charged.
        DataError: A day may have been released in a time that the journal lost; nothing was charged.
    """
    check_request(workspace, metrics, revise=revise, reason=reason)
    destroy_closed_shared_noise(workspace)
    stored = _stored(workspace, days)
    missing = days if revise else _missing_days(metrics, days, stored)
    if missing:
        check_days(workspace, missing)  # before anything is listed by day: the last one may be a slip of the keyboard
    pairs: list[Pair] = [(metric, day) for day in days for metric in dict.fromkeys(metrics)]
    wanted = pairs if revise else [pair for pair in pairs if pair not in stored]
    refused: Sequence[Refusal] = ()
    drawn_now: list[Pair] = []
    if wanted:
        if revise:
            check_revisable(wanted, stored)
        batch = _ReleaseBatch(workspace, reason=reason if revise else None, progress=progress)
        drawn_together = batch.drawn_with(wanted)
        check_windows(workspace, drawn_together)
        check_accounted(workspace, drawn_together)
        if revise:
            batch.require_complete(wanted)
        batch.count(wanted)
        for number, pair in enumerate(wanted):
            progress("release", number, len(wanted))
            outcome = batch.release(pair)
            if isinstance(outcome, Refusal):
                refused = [*refused, outcome]
            else:
                stored[pair] = outcome.release
                drawn_now += [pair] if outcome.is_new else []
        progress("release", len(wanted), len(wanted))
        refused = batch.book.with_next_funded_days(refused)
    results = tuple(ReleaseResult.from_json(stored[pair].result) for pair in pairs if pair in stored)
    return Published(results, tuple(refused), tuple(drawn_now), workspace)


def _stored(workspace: Workspace, days: DayRange) -> dict[Pair, releases.Release]:
    with workspace.ledger.read() as connection:
        found = releases.releases_between(connection, days.first, days.last)
    return {(cast(Metric, release.metric), release.day): release for release in found}


def _missing_days(metrics: Sequence[Metric], days: DayRange, stored: Container[Pair]) -> DayRange | None:
    """From the first to the last day of which a value is not stored; None when all are. Looks at no day in between."""

    def is_missing(day: date) -> bool:
        return any((metric, day) not in stored for metric in metrics)

    first = next(filter(is_missing, days), None)
    return None if first is None else DayRange(first, next(filter(is_missing, reversed(days))))


@dataclass(frozen=True, slots=True)
class _Offer:
    """How one release would be made, for one version of the ledger; public whole.

    Attributes:
        terms: Its account and noise.
        threshold: Keys below it are counted; None when a first threshold has to be searched, and paid for.
        events: What would be charged, an opening apart.
        refusal: Why it may not be made, or None.
    """

    terms: Terms
    threshold: int | None
    events: EventCounts
    refusal: Refusal | None


@dataclass(frozen=True, slots=True)
class _Outcome:
    """A stored release, and whether it was drawn now."""

    release: releases.Release
    is_new: bool


class _ReleaseBatch:
    """One operation's releases: the counts of its snapshot, and the state of the budget it decides on."""

    def __init__(self, workspace: Workspace, *, reason: str | None, progress: Progress) -> None:
        self._workspace = workspace
        self._reason = reason
        self._progress = progress
        self._counts: dict[Pair, Counts] = {}
        self._made: dict[Pair, releases.Release] = {}
        self._now: datetime | None = None
        self.book = BudgetBook(workspace.ledger, workspace.settings)

    def require_complete(self, wanted: Sequence[Pair]) -> None:
        """Raises UsageError unless every joint release that is to be revised is revised for all its metrics."""
        for metric, day in wanted:
            if self._is_joint((metric, day)) and any((name, day) not in wanted for name in METRICS):
                raise UsageError(
                    f"{metric} of {day} was released jointly and cannot be revised alone",
                    hint="revise dau, wau and mau together: leave --metric out",
                )

    def drawn_with(self, wanted: Sequence[Pair]) -> list[Pair]:
        """`wanted`, with every metric that a joint release of one of them draws as well."""
        joint = [(name, pair[1]) for pair in wanted if self._is_joint(pair) for name in METRICS]
        return list(dict.fromkeys([*wanted, *joint]))

    def count(self, wanted: Sequence[Pair]) -> None:
        """Takes the snapshot: builds and counts every window of `wanted` that the budget does not refuse."""
        funded = self.drawn_with([pair for pair in wanted if self._offer(pair).refusal is None])
        if funded:
            days, metrics = sorted({day for _, day in funded}), [name for name in METRICS if name in dict(funded)]
            counts = snapshot_counts(self._workspace, days, metrics, progress=self._progress)
            self._counts.update(dict.fromkeys(funded, counts))

    def release(self, pair: Pair) -> _Outcome | Refusal:
        """The one release of `pair`: drawn now, or as another process stored it; or why it is refused."""
        if pair in self._made:
            return _Outcome(self._made[pair], is_new=True)
        while True:
            offer = self._offer(pair)
            if offer.refusal is None and pair not in self._counts:
                self.count([pair])  # refused when the snapshot was taken; a reset came in between
            decided = self._refuse(pair, offer.refusal) if offer.refusal else self._draw(pair, offer)
            if decided is not None:
                return decided
            self.book.refresh()  # somebody else charged first: decide again

    def _is_joint(self, pair: Pair) -> bool:
        return self.book.account_name(pair[0], period_of(pair[1])) == JOINT

    def _offer(self, pair: Pair) -> _Offer:
        (metric, day), period = pair, period_of(pair[1])
        terms, last = self.book.terms(metric, period), self.book.last_release(metric)
        threshold = sampling_threshold(self._workspace.settings, terms.mechanism, last, period=period)
        search = NO_EVENTS if threshold else SEARCH
        events = merge_events(search, repeat_event(terms.mechanism.event(), 1))
        return _Offer(
            terms, threshold, events, self.book.refusal(metric, day, merge_events(terms.shared_noise_charge, events))
        )

    def _refuse(self, pair: Pair, refusal: Refusal) -> _Outcome | Refusal | None:
        with self._workspace.ledger.read() as connection:
            existing = releases.find_release(connection, *pair)
            if existing is not None and self._reason is None:
                return _Outcome(existing, is_new=False)
            return refusal if accounts.version(connection) == self.book.version else None

    def _draw(self, pair: Pair, offer: _Offer) -> _Outcome | None:
        """Charge, draw and store in one transaction; None when the ledger is no longer the one decided on."""
        metric, day = pair
        terms = offer.terms
        with self._workspace.ledger.write() as connection:
            existing = releases.find_release(connection, *pair)
            if existing is not None and self._reason is None:
                return _Outcome(existing, is_new=False)
            if accounts.version(connection) != self.book.version:
                return None
            now = self._now = self._now or self._workspace.advance_clock(connection)
            draw = Draw(self._workspace, connection, self._counts[pair], day, existing, self._reason, now)
            account, shared_noise = draw.shared_noise(draw.account(terms, self.book.totals(period_of(day))), terms)
            if shared_noise is None and terms.mechanism.shared_noise_charge():
                return None
            if isinstance(terms.mechanism, JointGaussian):
                made = draw.joint(account, terms.mechanism, shared_noise=shared_noise)
            else:
                threshold = offer.threshold or draw.first_threshold(account, metric)
                made = draw.single(account, terms.mechanism, metric, threshold=threshold, shared_noise=shared_noise)
            version = accounts.version(connection)
        self.book.charged(
            day,
            shared_noise_charge=terms.shared_noise_charge,
            events=offer.events,
            account=account,
            releases=[*made.values()],
            version=version,
        )
        self._made.update({(name, day): release for name, release in made.items()})
        return _Outcome(made[metric], is_new=True)
