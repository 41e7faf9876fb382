"""The recorder stands in the release path without changing what it refuses."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from dpdau_assets.core.mechanisms.above_threshold import find_first_threshold
from dpdau_assets.core.release.counts import Counts
from dpdau_assets.core.sketches.protocol import KEY_SPACE
from dpdau_assets.errors import InternalError, OutsideSeriesError
from dpdau_assets.evaluation.audit.recorder import Reading, Recorder
from dpdau_assets.operations.session.workspace import ReleaseSnapshot
from dpdau_tests.support.release_folders import open_folder

DAY, DROPPED, NEVER = date(2025, 3, 1), date(2025, 2, 1), date(2025, 4, 1)


@pytest.fixture
def recorded(tmp_path: Path) -> tuple[Recorder, Counts]:
    """Recorded counts of one day, another of which retention has dropped."""
    counts = Counts("set", {("dau", DAY): 7}, dropped=[("dau", DROPPED)])
    recorder = Recorder()
    return recorder, recorder.counts(ReleaseSnapshot(open_folder(tmp_path), [DAY], ["dau"], lambda: counts))


class TestRecordedCounts:
    def test_refuse_what_the_counts_refuse(self, recorded: tuple[Recorder, Counts]) -> None:
        """A dropped window is past retention, one that was not asked for an error of ours; neither is recorded."""
        taken, counts = recorded
        with pytest.raises(OutsideSeriesError):
            counts.below("dau", DROPPED)
        with pytest.raises(InternalError):
            counts.below("dau", NEVER)
        assert taken.readings == []

    def test_the_readings_of_a_search_are_marked(self, recorded: tuple[Recorder, Counts]) -> None:
        """What a search reads, whose draw is number 0, is told from what a release reads."""
        taken, counts = recorded
        assert taken.noise is not None
        source = taken.noise(account=1, draw=0)
        found = find_first_threshold(lambda limit: counts.below("dau", DAY, limit), source, k=4096)
        taken.noise(account=1, draw=1)
        counts.below("dau", DAY, found.threshold)
        assert [reading.is_search for reading in taken.readings] == [True] * (len(taken.readings) - 1) + [False]
        assert taken.readings[-1] == Reading("dau", DAY, KEY_SPACE, 7)

    def test_a_draw_is_given_the_number_of_the_world_it_follows(self, recorded: tuple[Recorder, Counts]) -> None:
        """Its own number is recorded."""
        _, counts = recorded
        follower = Recorder([Reading("dau", DAY, KEY_SPACE, 5)])
        read = follower.read(counts.stored("dau", DAY), "dau", DAY, KEY_SPACE)
        assert (read, [each.value for each in follower.readings]) == (5, [7])
