"""The recorder stands in the release path without changing what it refuses."""

from __future__ import annotations

from datetime import date

import pytest

from dpdau_assets.core.mechanisms.samplers import SeededNoise
from dpdau_assets.core.sketches.protocol import KEY_SPACE
from dpdau_assets.errors import InternalError, OutsideSeriesError
from dpdau_assets.evaluation.audit import recorder
from dpdau_assets.evaluation.audit.recorder import Reading, Recorder
from dpdau_assets.operations.release.counts_snapshot import Counts

DAY, DROPPED, NEVER = date(2025, 3, 1), date(2025, 2, 1), date(2025, 4, 1)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> tuple[Recorder, Counts]:
    """Recorded counts of one day, another of which retention has dropped."""
    counts = Counts("set", {("dau", DAY): 7}, dropped=[("dau", DROPPED)])
    monkeypatch.setattr(recorder, "snapshot_counts", lambda: counts)
    taken = Recorder()
    return taken, taken.take_cut()


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
        """What a search reads is told from what a release reads."""
        taken, counts = recorded
        found = taken.search(
            lambda limit: counts.below("dau", DAY, limit), SeededNoise(b"a search of sixteen bytes"), k=4096
        )
        counts.below("dau", DAY, found.threshold)
        assert [reading.is_search for reading in taken.readings] == [True] * (len(taken.readings) - 1) + [False]
        assert taken.readings[-1] == Reading("dau", DAY, KEY_SPACE, 7)
