"""The scenarios that audits run: many synthetic users, among them a few whose absence must not be noticed.

Belongs here: which entries arrive when, drawn from a seed. Does not belong here: running them (`scenario_run`).

What happens in `busy_scenario`, S the first day of the series:

    a  activity of everybody arrives, and every closed day is built
    b  late events of others arrive and wait; so do erasures of theirs that came as rows
    c  one target asks to be erased; the sensor reacts to what is pending, and to nothing else
    d  others ask to be erased; some days are released while all of that is pending
    e  more late events and erasures; an open day and one outside the series are asked for; more days are released
    f  a revision, the exports, the report, the budgets
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np

from dpdau_assets.core.hashing import EpochCalendar
from dpdau_assets.core.quantities import DayRange, Metric, period_of
from dpdau_assets.evaluation.audit.scenario_run import (
    Build,
    Entry,
    Erase,
    Ingest,
    Publish,
    React,
    Release,
    Steps,
    Wait,
)
from dpdau_assets.evaluation.streams.clock import noon

ROTATION_DAYS = 20
"""Salt epochs of the runs: short, so that windows begin in several."""
HISTORY_DAYS = 34
"""Days of activity before the series: the first month-long window is full."""
TARGETS = ("daily", "late", "erased", "short", "rows", "rotation", "random")
"""Users that scenarios are run with and without."""
REVISION_REASON = "an audit"


@dataclass(frozen=True, slots=True)
class Scenario:
    """Steps with what is needed to run them.

    Attributes:
        steps: What happens.
        series_start: First day of the series.
        start: The time at its beginning.
    """

    steps: Steps
    series_start: date
    start: datetime


def busy_scenario(seed: int, *, users: int, series_start: date = date(2025, 3, 10)) -> Scenario:
    """Releases while late events and erasures of others are pending; every kind of target is in it.

    Args:
        seed: Selects who was active when.
        users: Users beside the targets.
        series_start: S.
    """
    source = np.random.Generator(np.random.PCG64([seed, users]))
    at = _Days(series_start)
    others = [f"user-{number:05d}" for number in range(users)]
    activity = [*_activity(source, others, at.span(-HISTORY_DAYS, 9), chance=0.15), *_target_activity(source, at)]
    late = _activity(source, others[: users // 2], at.span(-20, 9), chance=0.03)
    later = _activity(source, others, at.span(-20, 9), chance=0.02)
    steps: Steps = (
        Ingest(_shuffled(source, activity)),
        Build(at.span(0, 9)),
        Ingest(_shuffled(source, [*late, *_rows(others[:8], at.day(4)), *_target_rows(at)])),
        Erase(("erased",), at.day(2)),
        React(at.span(0, 9)),
        Erase(tuple(others[8:20]), at.day(3)),
        Release(at.span(0, 6)),
        Ingest(_shuffled(source, [*later, Entry("late", at.day(1)), Entry("late", at.day(5))])),
        Erase((*others[20:30], "short"), at.day(6)),
        Release(at.span(8, 11)),
        Release(at.span(-1, 1)),
        Release(at.span(4, 9)),
        Release(DayRange.single(at.day(5)), reason=REVISION_REASON),
        Publish(period_of(series_start)),
        Wait(noon(at.day(12))),
        Release(at.span(9, 10)),
        Publish(period_of(series_start)),
    )
    return Scenario(steps, series_start, noon(at.day(10)))


def lean_scenario(seed: int, *, users: int, days: int = 3, series_start: date = date(2025, 3, 10)) -> Scenario:
    """Built days, late events of others, one target's erasure and the reaction to it, then releases; for controls.

    Args:
        seed: Selects who was active when.
        users: Users beside the targets.
        days: Days released.
        series_start: S.
    """
    source = np.random.Generator(np.random.PCG64([seed, users]))
    at = _Days(series_start)
    others = [f"user-{number:05d}" for number in range(users)]
    activity = [*_activity(source, others, at.span(-9, 9), chance=0.15), *_target_activity(source, at)]
    late = _activity(source, others, at.span(-5, 2), chance=0.05)
    steps: Steps = (
        Ingest(_shuffled(source, activity)),
        Build(at.span(0, days - 1)),
        Ingest(_shuffled(source, late)),
        Erase(("erased",), at.day(2)),
        React(at.span(0, days - 1)),
        Release(at.span(0, days - 1)),
    )
    return Scenario(steps, series_start, noon(at.day(days + 1)))


def month_scenario(*, month: date, months: int, patterns: Mapping[str, Iterable[int]], users: int = 40) -> Scenario:
    """Whole months released in order, then asked for once more: for the law of the noise and for guessing.

    Args:
        month: First day of the first month.
        months: How many.
        patterns: For each target the days of the first month, from 0, on which it is active.
        users: Users beside the targets; user u is active on every day that u + 2 divides.
    """
    last = _last_of(month, months)
    days = list(DayRange(month, last))
    activity = [
        Entry(f"user-{user:05d}", day)
        for offset, day in enumerate(days)
        for user in range(users)
        if offset % (user + 2) == 0
    ]
    activity += [Entry(name, days[offset]) for name, offsets in patterns.items() for offset in offsets]
    asked = Release(DayRange(month, last))
    return Scenario((Ingest(tuple(activity)), asked, asked), month, noon(last + timedelta(days=2)))


def only(scenario: Scenario, metrics: Sequence[Metric], days: DayRange) -> Scenario:
    """The scenario with fewer releases: those of some metrics and days."""
    steps = tuple(Release(days, tuple(metrics)) if isinstance(step, Release) else step for step in scenario.steps)
    return Scenario(steps, scenario.series_start, scenario.start)


def _last_of(month: date, months: int) -> date:
    year, number = divmod(month.year * 12 + month.month - 1 + months, 12)
    return date(year, number + 1, 1) - timedelta(days=1)


class _Days:
    """Days counted from the first day of the series."""

    def __init__(self, first: date) -> None:
        self._first = first

    def day(self, offset: int) -> date:
        return self._first + timedelta(days=offset)

    def span(self, first: int, last: int) -> DayRange:
        return DayRange(self.day(first), self.day(last))


def _activity(source: np.random.Generator, users: Sequence[str], days: DayRange, *, chance: float) -> Iterator[Entry]:
    """Each user active on each day with some chance."""
    active = source.random((len(days), len(users))) < chance
    for day, row in zip(days, active, strict=True):
        yield from (Entry(users[int(number)], day) for number in np.flatnonzero(row))


def _rows(users: Sequence[str], through: date) -> list[Entry]:
    return [Entry(user, through, "-") for user in users]


def _target_activity(source: np.random.Generator, at: _Days) -> list[Entry]:
    """What the targets do before anything is released."""
    calendar = EpochCalendar.every(ROTATION_DAYS)
    turn = calendar.first_day(calendar.epoch_of(at.day(8)))
    span = at.span(-HISTORY_DAYS, 9)
    random = [day for day in span if source.random() < 0.2]
    active = {
        "daily": list(span),
        "erased": [at.day(offset) for offset in (-20, -6, 0, 2, 3, 8)],
        "short": [at.day(2)],
        "rows": [at.day(offset) for offset in (-10, 1, 5)],
        "rotation": [turn - timedelta(days=1), turn],
        "random": random,
    }
    return [Entry(name, day) for name, days in active.items() for day in days]


def _target_rows(at: _Days) -> list[Entry]:
    """What the targets send as the first late batch."""
    return [Entry("late", at.day(-8)), Entry("late", at.day(2)), *_rows(["rows"], at.day(2))]


def _shuffled(source: np.random.Generator, entries: Iterable[Entry]) -> tuple[Entry, ...]:
    listed = list(entries)
    return tuple(listed[number] for number in source.permutation(len(listed)))
