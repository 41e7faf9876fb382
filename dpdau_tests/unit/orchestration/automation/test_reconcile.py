"""The bookkeeping of what Dagster still has to be told."""

from __future__ import annotations

import random

import dagster as dg
import pytest

from dpdau_assets.orchestration.automation.reconcile import Backlog, Report, from_cursor, tell, to_cursor

KEY = dg.AssetKey("raw_events")


def _take(backlog: Backlog, count: int) -> tuple[list[int], Backlog]:
    """Works on the newest gap as the sensor does: the numbers looked at and what remains."""
    above, upto = backlog.gaps[0]
    numbers = list(range(upto, above, -1))[:count]
    return numbers, backlog.without_newest(numbers, is_all=len(numbers) < count)


class TestBacklog:
    @pytest.mark.parametrize("seed", range(20))
    def test_every_number_is_looked_at_exactly_once_whenever_it_appears(self, seed: int) -> None:
        """However new work and ticks alternate, each number is taken once and the newest known come first."""
        chance = random.Random(seed)
        backlog, newest, taken = Backlog(), 0, []
        for _ in range(60):
            if chance.random() < 0.5:
                newest += chance.randrange(1, 9)
            backlog = backlog.grown_to(newest)
            if backlog.gaps:
                assert backlog.gaps[0][1] == max(upto for _, upto in backlog.gaps)
                numbers, backlog = _take(backlog, chance.randrange(1, 6))
                taken += numbers
        while backlog.gaps:
            numbers, backlog = _take(backlog, 7)
            taken += numbers
        assert sorted(taken) == list(range(1, newest + 1))

    def test_numbers_that_go_back_mean_another_ledger(self) -> None:
        """After a restore everything is looked at again."""
        backlog = Backlog().grown_to(10)
        _, backlog = _take(backlog, 20)
        assert backlog.gaps == ()
        assert backlog.grown_to(4).gaps == ((0, 4),)

    def test_the_cursor_survives_its_text_form(self) -> None:
        """Both backlogs come back as they were."""
        built = Backlog(9, ((7, 9), (0, 3)))
        released = Backlog(2, ())
        assert from_cursor(to_cursor(built, released)) == (built, released)
        assert from_cursor(None) == (Backlog(), Backlog())


class TestTell:
    def test_dagster_is_told_once(self) -> None:
        """A partition that Dagster has recorded is not recorded again."""
        with dg.DagsterInstance.ephemeral() as instance:
            reports = [Report(KEY, f"2026-01-0{day}", 5.0, {}) for day in (1, 2)]
            assert tell(instance, reports) == 2
            assert tell(instance, reports) == 0
            assert instance.get_materialized_partitions(KEY) == {"2026-01-01", "2026-01-02"}

    def test_newer_work_is_told_again(self) -> None:
        """What was built after the last record of its day is recorded."""
        with dg.DagsterInstance.ephemeral() as instance:
            assert tell(instance, [Report(KEY, "2026-01-01", 5.0, {})]) == 1
            assert tell(instance, [Report(KEY, "2026-01-01", 5.0, {})]) == 0
            assert tell(instance, [Report(KEY, "2026-01-01", 4e9, {})]) == 1
