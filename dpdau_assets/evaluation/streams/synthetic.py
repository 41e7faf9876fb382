"""A seeded stream of synthetic activity: pure functions of seed and day, vectorised.

A day's events depend on the seed, the population and the day alone, never on the range asked for: a longer stream has
the same days plus new ones. No file, clock or global randomness belongs here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]

WEEKDAY_FACTORS = (1.0, 1.02, 1.0, 0.98, 0.94, 0.62, 0.58)
"""Monday to Sunday: a product used at work."""

MEAN_ACTIVE_SHARE = 0.188
"""Mean share of the population active on a day; a test measures it."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST_MULTIPLIER = np.uint64(0xBF58476D1CE4E5B9)
_SECOND_MULTIPLIER = np.uint64(0x94D049BB133111EB)


@dataclass(frozen=True, slots=True)
class SyntheticStream:
    """A population whose members come, stay away, come back and sometimes ask to be erased.

    Each user has a habit (how often active), a cycle of presence and absence (churn and return) and a place in that
    cycle, all drawn from the seed. Public whole: nothing in it is about a person.

    Attributes:
        seed: Selects the stream, 0 <= seed < 2**63.
        users: Size of the population, at least 1.
        delete_rate: Share of a day's active users who ask that day to be erased, 0 to 1.
    """

    seed: int
    users: int
    delete_rate: float = 0.001

    def active_users(self, day: date) -> npt.NDArray[np.int64]:
        """Numbers of the users active on `day`, ascending: int64[n_active]."""
        present = self._is_present(day)
        chance = self._habit() * WEEKDAY_FACTORS[day.weekday()]
        return np.flatnonzero(present & (self._uniform("active", day.toordinal()) < chance))

    def erased_users(self, day: date) -> npt.NDArray[np.int64]:
        """Numbers of the users who ask on `day` to be erased, ascending and all active that day: int64[n_erased]."""
        asks = self._uniform("erase", day.toordinal()) < self.delete_rate
        active = self.active_users(day)
        return active[asks[active]]

    def events(self, day: date) -> Iterator[tuple[str, str]]:
        """The (user_id, op) pairs of `day`: one to three `+` for each active user, then one `-` for each erased one."""
        active = self.active_users(day)
        repeats = 1 + (self._uniform("repeat", day.toordinal())[active] * 3).astype(np.int64)
        for user in np.repeat(active, repeats):
            yield user_id(int(user)), "+"
        for user in self.erased_users(day):
            yield user_id(int(user)), "-"

    def lines(self, day: date) -> str:
        """The events of `day` as JSON lines with user_id, day and op."""
        return "".join(f'{{"user_id":"{user}","day":"{day}","op":"{op}"}}\n' for user, op in self.events(day))

    def _habit(self) -> Floats:
        """Chance of being active on a weekday of presence: many occasional users, some daily ones. float64[users]."""
        return 0.04 + 0.91 * self._uniform("habit", 0) ** 2

    def _is_present(self, day: date) -> npt.NDArray[np.bool_]:
        """Whether `day` lies in the present part of each user's cycle of 30 to 400 days. bool[users]."""
        cycle_days = 30 + (self._uniform("cycle", 0) * 371).astype(np.int64)
        share = 0.3 + 0.65 * self._uniform("share", 0)
        place = (day.toordinal() + (self._uniform("phase", 0) * cycle_days).astype(np.int64)) % cycle_days
        return place < share * cycle_days

    def _uniform(self, purpose: str, number: int) -> Floats:
        """One number in [0, 1) for each user, independent for every (seed, purpose, number). float64[users]."""
        label = int.from_bytes(purpose.encode().ljust(8, b"\0")[:8], "little")
        start = _mix(_mix(np.array([self.seed], dtype=np.uint64)) ^ np.uint64(label))
        start = _mix(start ^ np.uint64(number))
        words = _mix(start + np.arange(self.users, dtype=np.uint64) * _GOLDEN)
        return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def users_for(daily_users: int) -> int:
    """The population whose days have about `daily_users` active users on average."""
    return max(1, round(daily_users / MEAN_ACTIVE_SHARE))


def user_id(number: int) -> str:
    """The text id of a user of the population."""
    return f"user-{number:06d}"


def _mix(words: Words) -> Words:
    """The finaliser of SplitMix64 (Steele, Lea, Flood 2014), which every bit of the input reaches."""
    words = words + _GOLDEN
    words = (words ^ (words >> np.uint64(30))) * _FIRST_MULTIPLIER
    words = (words ^ (words >> np.uint64(27))) * _SECOND_MULTIPLIER
    return words ^ (words >> np.uint64(31))
