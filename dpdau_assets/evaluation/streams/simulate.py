"""The plainest population: every user is active on every day with the same chance, whatever happened before.

Belongs here: that stream, a pure function of seed and day. A stream with habits, rhythm and churn is `synthetic`, one
made against the system is `adversarial`. No file, clock or global randomness belongs here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

from dpdau_assets.evaluation.streams.synthetic import user_id


@dataclass(frozen=True, slots=True)
class SimulatedStream:
    """Independent users: on each day each is active with chance `p_active`, and then erased with chance `delete_rate`.

    A day's events depend on these numbers and the day alone. The expected counts are known in closed form, which is
    what the stream is for. An erased user keeps being active with the same chance on later days.

    Attributes:
        seed: Selects the stream, 0 <= seed < 2**63.
        users: Size of the population, at least 1.
        p_active: Chance of a user to be active on a day, 0 to 1.
        delete_rate: Chance of an active user to ask that day to be erased, 0 to 1.
    """

    seed: int
    users: int
    p_active: float
    delete_rate: float = 0.0

    def active_users(self, day: date) -> npt.NDArray[np.int64]:
        """Numbers of the users active on `day`, ascending: int64[n_active]."""
        return np.flatnonzero(self._draws(day)[0] < self.p_active)

    def erased_users(self, day: date) -> npt.NDArray[np.int64]:
        """Numbers of the users who ask on `day` to be erased, ascending and all active that day: int64[n_erased]."""
        active, asks = self._draws(day)
        return np.flatnonzero((active < self.p_active) & (asks < self.delete_rate))

    def lines(self, day: date) -> str:
        """The events of `day` as JSON lines with user_id, day and op: each active user's `+`, then the `-`."""
        return "".join(event_line(user, day, op) for user, op in self._events(day))

    def expected_users(self, window_days: int) -> float:
        """Distinct users expected in a window when nobody is erased: users (1 - (1 - p)^days)."""
        return self.users * (1 - (1 - self.p_active) ** window_days)

    def _events(self, day: date) -> Iterator[tuple[str, str]]:
        for op, users in (("+", self.active_users(day)), ("-", self.erased_users(day))):
            for user in users:
                yield user_id(int(user)), op

    def _draws(self, day: date) -> npt.NDArray[np.float64]:
        """Two numbers in [0, 1) for each user: float64[2, users]."""
        return np.random.Generator(np.random.PCG64([self.seed, day.toordinal()])).random((2, self.users))


def event_line(user: str, day: date, op: str = "+") -> str:
    """One event as a line of JSON that `ingest` accepts."""
    return f'{{"user_id":"{user}","day":"{day}","op":"{op}"}}\n'
