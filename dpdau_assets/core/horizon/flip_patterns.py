"""The in-and-out series that one user can have over a long horizon, when late events and erasures are limited.

Belongs here: the set of allowed series, as numbers and as an automaton that reads a series day by day. Does not belong
here: limiting a stream to the set (evaluation shows how), nor the noise that the set needs (`flip_sensitivity`).

A user is in the set that MAU counts on some days of a horizon and out of it on the others. One day of activity keeps
the user in for a whole window, so a run of days in lasts at least `shortest_run_days`; a run of days out may be short.
The run that reaches back to the first day may have begun before it and the run that reaches the last day may go on, so
these two may have any length. An erasure ends a run early. All of it is public: it describes rules, not people.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dpdau_assets.errors import InternalError

REFUSED = -1
"""Stands in place of a next state if a series that goes on like this is not allowed."""


@dataclass(frozen=True, slots=True)
class Automaton:
    """Reads a series day by day; state 0 is the one before the first day. Public.

    Attributes:
        is_in: For each state, whether the user is in on the day that led to it.
        when_out: For each state, the next one when the user is out on the next day, or `REFUSED`.
        when_in: The same when the user is in.
    """

    is_in: tuple[bool, ...]
    when_out: tuple[int, ...]
    when_in: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PatternSet:
    """The allowed series of days in (1) and out (0); before the first day everybody is out. Public.

    Attributes:
        horizon_days: T, the length of a series, at least 1.
        shortest_run_days: m, the least length of a run of days in that touches neither end of the horizon, at least 1.
        short_cuts: E, how many runs may be shorter than that, at least 0.
        has_return: Whether a user may come in again after the last allowed short cut.
    """

    horizon_days: int
    shortest_run_days: int
    short_cuts: int = 0
    has_return: bool = True

    def __post_init__(self) -> None:
        if min(self.horizon_days, self.shortest_run_days) < 1 or self.short_cuts < 0:
            raise InternalError("a set of patterns needs a horizon, a shortest run and a number of short cuts")

    def automaton(self) -> Automaton:
        """The automaton that accepts exactly these series (of any length up to the horizon)."""
        block = self.shortest_run_days + 1
        gone = 1 + (self.short_cuts + 1) * block
        is_in, when_out, when_in = ([0] * (gone + 1) for _ in range(3))
        when_out[0], when_in[0] = 1, 2
        when_out[gone], when_in[gone] = gone, REFUSED
        for used in range(self.short_cuts + 1):
            out, long = 1 + used * block, 2 + used * block
            when_out[out], when_in[out] = out, long + 1 if self.shortest_run_days > 1 else long
            is_in[long], when_out[long], when_in[long] = 1, out, long
            is_last = used + 1 == self.short_cuts
            cut = REFUSED if used == self.short_cuts else gone if is_last and not self.has_return else out + block
            for age in range(1, self.shortest_run_days):
                older = long if age + 1 == self.shortest_run_days else long + age + 1
                is_in[long + age], when_out[long + age], when_in[long + age] = 1, cut, older
        return Automaton(tuple(map(bool, is_in)), tuple(when_out), tuple(when_in))

    def allows(self, series: Sequence[int]) -> bool:
        """Returns whether a series is one of these.

        Args:
            series: One 0 or 1 for each day, `horizon_days` of them.
        """
        automaton, state = self.automaton(), 0
        for is_in in series:
            state = (automaton.when_in if is_in else automaton.when_out)[state]
            if state == REFUSED:
                return False
        return len(series) == self.horizon_days

    def most_flips(self) -> int:
        """The largest number of changes in one series, coming in on the first day among them."""
        automaton = self.automaton()
        best = {0: 0}
        for _ in range(self.horizon_days):
            following: dict[int, int] = {}
            for state, flips in best.items():
                for reached in (automaton.when_out[state], automaton.when_in[state]):
                    if reached != REFUSED:
                        total = flips + (automaton.is_in[state] != automaton.is_in[reached])
                        following[reached] = max(following.get(reached, 0), total)
            best = following
        return max(best.values())
