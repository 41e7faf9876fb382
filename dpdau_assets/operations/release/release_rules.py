"""What refuses a release before any budget is looked at: the settings, the request, the calendar.

Belongs here: rules that look at settings, dates, the clock and what is already released. Whether data has arrived, was
erased or waits to be built never decides about a release, because that would tell about people.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from datetime import date, timedelta

from dpdau_assets.core.quantities import EARLIEST_DAY, DayRange, Metric, window_days
from dpdau_assets.errors import ConfigurationError, OutsideSeriesError, UsageError
from dpdau_assets.operations.session.calendar import require_closed, require_in_series
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.settings.settings import Settings


def check_request(workspace: Workspace, metrics: Sequence[Metric], *, revise: bool, reason: str | None) -> None:
    """Raises unless the settings allow releases at all and the request makes sense.

    Args:
        workspace: The open data folder.
        metrics: Metrics asked for.
        revise: Whether new revisions are asked for.
        reason: Their reason.

    Raises:
        UsageError: An unknown metric, or a revision without a reason.
        ConfigurationError: Seeded noise over real data, or an experiment's setting.
    """
    settings = workspace.settings
    for metric in metrics:
        window_days(metric, settings.mau_window_days)
    if revise and not (reason or "").strip():
        raise UsageError("a revision needs a reason", hint="give a public one; an erasure or late data is none")
    if settings.noise_source == "seeded" and not workspace.is_synthetic:
        raise ConfigurationError(
            "NOISE_SOURCE=seeded works only in a data folder created as synthetic",
            hint="set NOISE_SOURCE=secure; noise that can be repeated protects nobody",
        )
    if settings.use_bloom_for_diff:
        raise ConfigurationError(
            "USE_BLOOM_FOR_DIFF=true serves experiments only: one erased user can drop others from a count",
            hint="set USE_BLOOM_FOR_DIFF=false to release",
        )


def check_revisable(wanted: Iterable[tuple[Metric, date]], released: Container[tuple[Metric, date]]) -> None:
    """Raises UsageError, naming the first that is not, unless every one of `wanted` is released."""
    for metric, day in wanted:
        if (metric, day) not in released:
            raise UsageError(
                f"{metric} of {day} is not released, so there is nothing to revise", hint="release it without --revise"
            )


def check_days(workspace: Workspace, days: DayRange) -> None:
    """Raises unless every day asked for is a closed day of the series; as quick for millennia as for a day.

    Args:
        workspace: The open data folder.
        days: From the first to the last day to release.

    Raises:
        OutsideSeriesError: A day lies before SERIES_START or after SERIES_END, or there is no SERIES_START.
        NotClosedError: A day is not closed yet by the clock that never goes back.
        ConfigurationError: The clock is far ahead of all that happened here (public).
    """
    require_in_series(workspace.settings, days)
    with workspace.ledger.write() as connection:  # recorded, so that the snapshot cannot see an earlier time
        now = workspace.advance_clock(connection)
    require_closed(workspace.settings, days.last, now)


def check_windows(workspace: Workspace, wanted: Sequence[tuple[Metric, date]]) -> None:
    """Raises unless the calendar allows the window of every release asked for.

    Args:
        workspace: The open data folder.
        wanted: Metrics and days to release, whose days `check_days` allows.

    Raises:
        OutsideSeriesError: A window reaches back beyond RETENTION_DAYS.
        ConfigurationError: SERIES_START was moved back by more than a year (public).
    """
    _check_floor(workspace, wanted)
    _check_retention(workspace, wanted)


def _check_floor(workspace: Workspace, pairs: Iterable[tuple[Metric, date]]) -> None:
    floor = workspace.series_floor()
    for metric, day in pairs:
        start = window_start(workspace.settings, metric, day)
        if floor is not None and EARLIEST_DAY <= start < floor:
            raise ConfigurationError(
                f"the window of {metric} on {day} starts on {start}, before {floor}: SERIES_START was later when this "
                "data folder first saw it, and may move back by a year at most",
                hint="set SERIES_START later, or start a new DATA_DIR",
            )


def _check_retention(workspace: Workspace, pairs: Iterable[tuple[Metric, date]]) -> None:
    """A window that holds a day past retention cannot be counted any more, whether or not the day was dropped yet."""
    with workspace.ledger.read() as connection:
        floor = workspace.retained_from(connection)
    for metric, day in pairs:
        start = window_start(workspace.settings, metric, day)
        if max(start, EARLIEST_DAY) < floor:
            raise OutsideSeriesError(
                f"the window of {metric} on {day} starts on {start}, and key-level data is kept from {floor} on",
                day=day,
                hint="values released before stay; others cannot be made any more",
            )


def window_start(settings: Settings, metric: Metric, day: date) -> date:
    """First day of the window of `metric` that ends on `day`."""
    return day - timedelta(days=window_days(metric, settings.mau_window_days) - 1)


def days_in_window(settings: Settings, metric: Metric, day: date) -> int:
    """Days of the window that lie in the series; depends on SERIES_START alone.

    Args:
        settings: With SERIES_START set.
        metric: The metric.
        day: A day of the series.
    """
    first = window_start(settings, metric, day)
    begin = max(first, settings.series_start) if settings.series_start else first
    return (day - begin).days + 1
