"""The synthetic stream: the same for ever, and shaped like people."""

from __future__ import annotations

import json
from datetime import date, timedelta

import numpy as np
import pytest

from dpdau_assets.evaluation.streams.synthetic import MEAN_ACTIVE_SHARE, SyntheticStream, users_for

MONDAY = date(2026, 1, 5)
STREAM = SyntheticStream(seed=7, users=5_000, delete_rate=0.02)


def days_from(first: date, count: int) -> list[date]:
    return [first + timedelta(days=offset) for offset in range(count)]


class TestDeterminism:
    def test_a_day_depends_on_seed_and_day_only(self) -> None:
        """The events of a day are the same whichever other days were asked for before."""
        alone = STREAM.lines(MONDAY + timedelta(days=20))
        after_others = [
            SyntheticStream(seed=7, users=5_000, delete_rate=0.02).lines(day) for day in days_from(MONDAY, 21)
        ]
        assert after_others[-1] == alone

    def test_the_stream_never_changes_between_versions(self) -> None:
        """The demo's values stay comparable: these numbers were fixed when the generator was written."""
        assert STREAM.active_users(MONDAY)[:5].tolist() == [4, 6, 18, 29, 30]
        assert len(STREAM.active_users(MONDAY)) == 1064

    def test_another_seed_is_another_stream(self) -> None:
        """Seeds select streams: two of them share a day's active users no more than chance has it."""
        other = SyntheticStream(seed=8, users=5_000)
        shared = np.intersect1d(STREAM.active_users(MONDAY), other.active_users(MONDAY))
        assert len(shared) < 0.6 * len(STREAM.active_users(MONDAY))


class TestShape:
    def test_weekends_are_quieter(self) -> None:
        """Saturdays and Sundays have less than 80 % of the activity of the other days."""
        sizes = np.array([len(STREAM.active_users(day)) for day in days_from(MONDAY, 70)]).reshape(10, 7)
        assert sizes[:, 5:].mean() < 0.8 * sizes[:, :5].mean()

    def test_users_leave_and_come_back(self) -> None:
        """Some users are active in the first and third of three months and not in the second."""
        months = [
            set(
                np.concatenate([STREAM.active_users(day) for day in days_from(MONDAY + timedelta(days=30 * month), 30)])
            )
            for month in range(3)
        ]
        returned = (months[0] & months[2]) - months[1]
        assert len(returned) > 50
        assert len(months[0] - months[1] - months[2]) > 50

    def test_the_stated_mean_is_the_mean(self) -> None:
        """A stream sized for so many daily users has that many, within 5 % over a year."""
        stream = SyntheticStream(seed=11, users=users_for(1_000))
        sizes = [len(stream.active_users(day)) for day in days_from(MONDAY, 364)[::3]]
        assert np.mean(sizes) == pytest.approx(1_000, rel=0.05)
        assert 0 < MEAN_ACTIVE_SHARE < 1

    def test_erasures_come_from_active_users_at_the_stated_rate(self) -> None:
        """Only a user active that day asks to be erased, and about delete_rate of them do."""
        asked, active = 0, 0
        for day in days_from(MONDAY, 60):
            erased, present = STREAM.erased_users(day), STREAM.active_users(day)
            assert np.isin(erased, present).all()
            asked, active = asked + len(erased), active + len(present)
        assert asked / active == pytest.approx(0.02, abs=0.003)

    def test_lines_are_the_documented_json(self) -> None:
        """Each line holds user_id, day and op; every active user has a `+`, every erased one a `-`."""
        rows = [json.loads(line) for line in STREAM.lines(MONDAY).splitlines()]
        assert {tuple(row) for row in rows} == {("user_id", "day", "op")}
        assert {row["day"] for row in rows} == {"2026-01-05"}
        assert len({row["user_id"] for row in rows if row["op"] == "+"}) == len(STREAM.active_users(MONDAY))
        assert sum(row["op"] == "-" for row in rows) == len(STREAM.erased_users(MONDAY))

    def test_no_deletes_when_none_are_asked_for(self) -> None:
        """A delete rate of 0 gives no erasure."""
        assert len(SyntheticStream(seed=7, users=5_000, delete_rate=0).erased_users(MONDAY)) == 0
