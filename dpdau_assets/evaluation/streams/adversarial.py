"""A stream made against the system: every user behaves in one of the ways that broke a counter of this kind before.

    flipper    comes and goes: `flips` changes between active and away in every `window` days
    boundary   active again exactly on the last day inside, or the first day outside, of a 7-day or a long window
    rotation   active on the last day of a salt epoch and on the first day of the next, and on no other day
    daily      active every day, erased in the middle and back the next day
    late       active like a flipper, but all events arrive after everything else

Belongs here: those patterns, as pure functions of seed, user and day. No file, clock or global randomness belongs here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt

from dpdau_assets.core.hashing import EpochCalendar
from dpdau_assets.core.quantities import DayRange
from dpdau_assets.evaluation.streams.simulate import event_line

KINDS = ("flipper", "boundary", "rotation", "daily", "late")
WEEK = 7


@dataclass(frozen=True, slots=True)
class AdversarialStream:
    """Users of all kinds in equal shares over a range of days; public whole: nothing in it is about a person.

    Attributes:
        users: Number of users, at least 1; user u is of kind u modulo 5.
        days: Days of the stream.
        window: Length of the long window, at least 8.
        flips: Changes between active and away in every `window` days, 0 to `window`.
        rotation_days: Length of a salt epoch.
        seed: Selects where the flips lie and with which phase users start.
    """

    users: int
    days: DayRange
    window: int
    flips: int
    rotation_days: int
    seed: int = 0

    def kind_of(self, user: int) -> str:
        """Which of `KINDS` a user is."""
        return KINDS[user % len(KINDS)]

    def active_days(self, user: int) -> list[date]:
        """The days on which a user is active, ascending."""
        kind = self.kind_of(user)
        if kind == "daily":
            return list(self.days)
        if kind == "boundary":
            return self._boundary_days(user)
        if kind == "rotation":
            return self._rotation_days()
        return [day for day, is_active in zip(self.days, self._flipping(user), strict=True) if is_active]

    def prompt_lines(self) -> Iterator[str]:
        """The first file, day by day: all events but those of the late users and the erasures."""
        prompt: dict[date, list[int]] = {}
        for user in range(self.users):
            if self.kind_of(user) != "late":
                for day in self.active_days(user):
                    prompt.setdefault(day, []).append(user)
        for day in self.days:
            yield "".join(event_line(name_of(self.kind_of(user), user), day) for user in prompt.get(day, ()))

    def late_lines(self) -> Iterator[str]:
        """The second file, to be ingested after the first and after releases: late users, and daily users' erasures."""
        middle = self.days.first + timedelta(days=len(self.days) // 2)
        for user in range(self.users):
            kind = self.kind_of(user)
            if kind == "late":
                yield "".join(event_line(name_of(kind, user), day) for day in self.active_days(user))
            elif kind == "daily":
                yield event_line(name_of(kind, user), middle, "-")

    def _flipping(self, user: int) -> npt.NDArray[np.bool_]:
        """Whether the user is active on each day: exactly `flips` changes in every block of `window` days."""
        source = np.random.Generator(np.random.PCG64([self.seed, user]))
        starts_active = bool(source.integers(2))
        blocks = -(-len(self.days) // self.window)
        changes = np.zeros((blocks, self.window), dtype=np.int64)
        for block in changes:
            block[source.choice(self.window, size=self.flips, replace=False)] = 1
        is_active: npt.NDArray[np.bool_] = (np.cumsum(changes.ravel()[: len(self.days)]) + starts_active) % 2 == 1
        return is_active

    def _boundary_days(self, user: int) -> list[date]:
        """A first day by the user's number, then steps of 6, 7, window - 1 and window days, over and over."""
        steps = (WEEK - 1, WEEK, self.window - 1, self.window)
        day, turn, found = self.days.first + timedelta(days=user % self.window), user, []
        while day in self.days:
            found.append(day)
            day += timedelta(days=steps[turn % len(steps)])
            turn += 1
        return found

    def _rotation_days(self) -> list[date]:
        calendar = EpochCalendar.every(self.rotation_days)
        around = (
            calendar.first_day(epoch) + timedelta(days=offset)
            for epoch in range(calendar.epoch_of(self.days.first), calendar.epoch_of(self.days.last) + 2)
            for offset in (-1, 0)
        )
        return sorted({day for day in around if day in self.days})


def name_of(kind: str, user: int) -> str:
    """The text id of a user, which tells its kind."""
    return f"{kind}-{user:06d}"
