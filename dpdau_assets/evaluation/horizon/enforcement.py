"""Counting that keeps every user's series within limits, over simulated streams: what tree and matrix noise rely on.

Belongs here: the three rules, as a pure function of a stream's entries. Does not belong here: the limits as such
(`core.mechanisms.flip_patterns`) and the noise. The release path does not count like this, and therefore refuses noise
that needs it.

1. An event counts only when it arrived before the release of its own day. A late one would begin a run that is too
   short, because its window is partly over, and use up what the second rule allows.
2. A user has a counter of runs that began within the horizon and were cut short, by an erasure or by anything else.
   When it reaches `short_cuts`, the user stays uncounted until the horizon ends.
3. Each day is released once, in order, none left out, from what had arrived by then. Nothing later changes it.

The second rule alone bounds what a user can do to the answers, because it looks at the counted days and not at their
cause; the first keeps users with late events in the count.

Days are numbers: 1 is the first of the horizon, and activity of up to a window before it counts. The release of day r
lies between arrivals numbered r and r + 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from dpdau_assets.core.horizon.flip_patterns import PatternSet
from dpdau_assets.evaluation.streams.simulate import SimulatedStream

Numbers: TypeAlias = npt.NDArray[np.int64]

LONG_AGO = -(2**40)
"""In place of a day: never."""


@dataclass(frozen=True, slots=True, eq=False)
class Entries:
    """The log of a simulated stream; users are numbers from 0. One row of three for each entry: int64[3, n].

    Attributes:
        users: Number of users.
        events: User, day and arrival of each activity.
        erasures: User, last day erased and arrival of each erasure.
    """

    users: int
    events: Numbers
    erasures: Numbers


@dataclass(frozen=True, slots=True)
class CountingRules:
    """The limits, and switches that leave one out to show what it is for.

    Attributes:
        horizon_days: T.
        window_days: N: one day of activity keeps a user in for so long.
        short_cuts: E, after which a user stays out; None leaves the second rule out.
        has_late_events: True leaves the first rule out.
    """

    horizon_days: int
    window_days: int = 30
    short_cuts: int | None = 1
    has_late_events: bool = False

    @property
    def patterns(self) -> PatternSet:
        """The series that users can have when no rule is left out."""
        return PatternSet(self.horizon_days, self.window_days, self.short_cuts or 0, has_return=False)


def counted_series(entries: Entries, rules: CountingRules) -> npt.NDArray[np.bool_]:
    """Whether each user is counted on each day of the horizon: bool[users, T]; its column sums are the counts.

    Guarantee: with both rules in force every row is one of `rules.patterns`, whatever the entries are, and no row
    depends on the entries of another user.

    Args:
        entries: The stream (simulated).
        rules: The limits.
    """
    last_active, erased = (np.full(entries.users, LONG_AGO, dtype=np.int64) for _ in range(2))
    users, days, arrivals = entries.events
    takes_part = np.maximum(days, arrivals)
    is_taken = np.full(len(days), True) if rules.has_late_events else arrivals <= days
    state = _Counters(entries.users, rules)
    series = np.zeros((entries.users, rules.horizon_days), dtype=np.bool_)
    first = 2 - rules.window_days
    asked_on = np.maximum(entries.erasures[2], first)
    for day in range(first, rules.horizon_days + 1):
        asked = asked_on == day
        np.maximum.at(erased, entries.erasures[0][asked], entries.erasures[1][asked])
        came = is_taken & (takes_part == day)
        np.maximum.at(last_active, users[came], days[came])
        if day >= 1:
            is_live = (last_active > erased) & (last_active > day - rules.window_days)
            series[:, day - 1] = state.counted(is_live, is_first=day == 1)
    return series


class _Counters:
    """Each user's present run and short cuts."""

    def __init__(self, users: int, rules: CountingRules) -> None:
        self._rules = rules
        self._was_in, self._is_free, self._is_barred = (np.zeros(users, dtype=np.bool_) for _ in range(3))
        self._run, self._cuts = (np.zeros(users, dtype=np.int64) for _ in range(2))

    def counted(self, is_live: npt.NDArray[np.bool_], *, is_first: bool) -> npt.NDArray[np.bool_]:
        """Who is counted on the next day."""
        is_in = is_live & ~self._is_barred
        ended_short = self._was_in & ~is_in & ~self._is_free & (self._run < self._rules.window_days)
        self._cuts += ended_short
        if self._rules.short_cuts is not None:
            self._is_barred |= self._cuts >= max(self._rules.short_cuts, 1)
        # a run that reaches back to the first day may have begun before the horizon: its length is not limited
        self._is_free = is_in & (self._is_free | is_first)
        self._run = np.where(is_in, self._run + 1, 0)
        self._was_in = is_in
        return is_in


def simulated_entries(
    stream: SimulatedStream, first_day: date, rules: CountingRules, *, late_share: float = 0.0
) -> Entries:
    """The entries of a simulated stream around a horizon.

    Args:
        stream: Who is active and who asks to be erased on each day.
        first_day: Day 1 of the horizon.
        rules: For its length and window.
        late_share: Chance of an event to arrive one to fourteen days late.
    """
    rng = np.random.Generator(np.random.PCG64([stream.seed, first_day.toordinal()]))
    events, erasures = [], []
    for day in range(2 - rules.window_days, rules.horizon_days + 1):
        date_of_day = first_day + timedelta(days=day - 1)
        active, asking = stream.active_users(date_of_day), stream.erased_users(date_of_day)
        delays = np.where(rng.random(len(active)) < late_share, rng.integers(1, 15, len(active)), 0)
        events.append(np.array([active, np.full(len(active), day), day + delays]))
        erasures.append(np.array([asking, *[np.full(len(asking), day)] * 2]))
    return Entries(stream.users, np.concatenate(events, axis=1), np.concatenate(erasures, axis=1))
