"""Users made against the system behave exactly as their kind says."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from datetime import date

import pytest

from dpdau_assets.core.hashing import EpochCalendar
from dpdau_assets.core.quantities import DayRange
from dpdau_assets.evaluation.streams.adversarial import KINDS, AdversarialStream

DAYS = DayRange(date(2026, 1, 5), date(2026, 4, 4))
STREAM = AdversarialStream(users=50, days=DAYS, window=30, flips=4, rotation_days=20, seed=3)


def users_of(kind: str) -> list[int]:
    return [user for user in range(STREAM.users) if STREAM.kind_of(user) == kind]


def rows(chunks: Iterable[str]) -> list[dict[str, str]]:
    return [json.loads(line) for line in "".join(chunks).splitlines()]


class TestKinds:
    @pytest.mark.parametrize("flips", [0, 1, 4, 30])
    def test_flippers_change_as_often_as_asked(self, flips: int) -> None:
        """Within each window a flipper changes between active and away exactly `flips` times."""
        stream = AdversarialStream(users=10, days=DAYS, window=30, flips=flips, rotation_days=20, seed=3)
        for user in (0, 5):
            active = [day in set(stream.active_days(user)) for day in DAYS]
            changes = [a != b for a, b in itertools.pairwise(active)]
            assert sum(changes) in (3 * flips - 1, 3 * flips)  # a change on the very first day cannot be seen
            assert [sum(changes[29:59]), sum(changes[59:89])] == [flips, flips]

    def test_boundary_users_sit_on_the_borders_of_windows(self) -> None:
        """A boundary user comes back after 6, 7, 29 or 30 days, and each of these happens."""
        gaps = {
            (later - earlier).days
            for user in users_of("boundary")
            for days in [STREAM.active_days(user)]
            for earlier, later in itertools.pairwise(days)
        }
        assert gaps == {6, 7, 29, 30}

    def test_rotation_users_sit_on_both_sides_of_a_rotation(self) -> None:
        """Every day of a rotation user is the last of an epoch or the first of one, and both occur."""
        calendar = EpochCalendar.every(20)
        days = STREAM.active_days(users_of("rotation")[0])
        firsts = [day for day in days if calendar.first_day(calendar.epoch_of(day)) == day]
        lasts = [day for day in days if calendar.last_day(calendar.epoch_of(day)) == day]
        assert len(firsts) >= 4 and len(lasts) >= 4
        assert sorted(firsts + lasts) == days

    def test_daily_users_never_miss_a_day(self) -> None:
        """A daily user is active on all days."""
        assert all(STREAM.active_days(user) == list(DAYS) for user in users_of("daily"))

    def test_every_kind_is_present(self) -> None:
        """Users are of all kinds in equal shares."""
        assert {kind: len(users_of(kind)) for kind in KINDS} == dict.fromkeys(KINDS, 10)


class TestFiles:
    def test_what_is_late_comes_in_the_second_file(self) -> None:
        """The first file holds every kind but `late`; the second the late users, and erasures of the daily ones."""
        prompt, late = rows(STREAM.prompt_lines()), rows(STREAM.late_lines())
        assert {row["user_id"].split("-")[0] for row in prompt} == {"flipper", "boundary", "rotation", "daily"}
        assert {row["op"] for row in prompt} == {"+"}
        assert {row["user_id"].split("-")[0] for row in late if row["op"] == "+"} == {"late"}
        assert {row["user_id"].split("-")[0] for row in late if row["op"] == "-"} == {"daily"}
        assert [row["day"] for row in prompt] == sorted(row["day"] for row in prompt)

    def test_the_same_numbers_give_the_same_files(self) -> None:
        """Streams are functions of their numbers; the seed moves the flips."""
        again = AdversarialStream(users=50, days=DAYS, window=30, flips=4, rotation_days=20, seed=3)
        other = AdversarialStream(users=50, days=DAYS, window=30, flips=4, rotation_days=20, seed=4)
        assert list(again.prompt_lines()) == list(STREAM.prompt_lines()) != list(other.prompt_lines())

    def test_days_outside_never_occur(self) -> None:
        """All events lie in the asked days."""
        written = {date.fromisoformat(row["day"]) for row in rows(STREAM.prompt_lines()) + rows(STREAM.late_lines())}
        assert min(written) >= DAYS.first and max(written) <= DAYS.last
