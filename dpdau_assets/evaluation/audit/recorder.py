"""Recording what releases are made from, while an audit runs: exact counts before noise, and the noise itself.

Belongs here: the three names of the release path that are replaced, and what stands in their place. This is the only
place where exact counts of a release are kept, and it works in this process, in the audit's own folders, alone: no
setting, argument or file leads here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

from dpdau_assets.core.mechanisms.above_threshold import AboveThresholdOutcome, find_first_threshold
from dpdau_assets.core.mechanisms.interface import NoiseSource
from dpdau_assets.core.mechanisms.samplers import SeededNoise
from dpdau_assets.core.quantities import Metric
from dpdau_assets.core.sketches.protocol import KEY_SPACE, DistinctSketch
from dpdau_assets.errors import InternalError
from dpdau_assets.operations.release import draw_release, publish_release
from dpdau_assets.operations.release.counts_snapshot import Counts, snapshot_counts

StoredCount = int | DistinctSketch | None
"""What a release cut holds for a window: a count, a sketch, or nobody."""
Reader = Callable[[StoredCount, int], int]
"""Makes the number that noise is added to, of what the cut holds and the threshold."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One number that noise was added to. Of made users; in a real folder it would be sensitive.

    Attributes:
        metric: The metric.
        day: The released day.
        threshold: Keys below it were counted.
        value: The number.
        is_search: Whether it was read in the search for a first threshold.
    """

    metric: Metric
    day: date
    threshold: int
    value: int
    is_search: bool = False

    @property
    def asked(self) -> tuple[Metric, date, int]:
        """What was asked for, without the answer."""
        return self.metric, self.day, self.threshold


class CoupledNoise(SeededNoise):
    """The same noise in two worlds, so that their outsides can be compared byte by byte; never for people.

    It calls itself `secure`, because the name is published and must not differ from that of a real release.

    Args:
        number: Which draw of the world it is for.
    """

    def __init__(self, number: int) -> None:
        super().__init__(b"noise of the audit" + number.to_bytes(8, "big"))

    @property
    def name(self) -> str:
        """`secure`."""
        return "secure"

    @property
    def is_private(self) -> bool:
        """True, as a real release says."""
        return True


def read_count(stored: StoredCount, threshold: int) -> int:
    """The number that releases read: what `Counts.below` gives."""
    if stored is None or isinstance(stored, int):
        return stored or 0
    return stored.threshold_count(threshold)


class Recorder:
    """What one world's releases read, in order.

    Args:
        follow: Readings of a neighbouring world. Each draw is then given that world's number while this world's own is
            recorded: what leaves can differ only by something else than the numbers.
        reader: Makes the numbers; a control replaces it.
        source: Makes the noise of each draw, of its number.
    """

    def __init__(
        self,
        follow: Iterable[Reading] = (),
        *,
        reader: Reader = read_count,
        source: Callable[[int], NoiseSource] = CoupledNoise,
    ) -> None:
        self.readings: list[Reading] = []
        self.draws = 0
        self._follow: Sequence[Reading] = tuple(follow)
        self._reader = reader
        self._source = source
        self._is_searching = False

    def read(self, stored: StoredCount, metric: Metric, day: date, threshold: int) -> int:
        """Records a number, and returns it or the one to follow."""
        position = len(self.readings)
        reading = Reading(metric, day, threshold, self._reader(stored, threshold), self._is_searching)
        self.readings.append(reading)
        followed = self._follow[position] if position < len(self._follow) else reading
        return followed.value if followed.asked == reading.asked else reading.value

    def noise(self) -> NoiseSource:
        """The noise source of the next draw."""
        self.draws += 1
        return self._source(self.draws)

    def search(self, *arguments: Any, **named: Any) -> AboveThresholdOutcome:
        """Stands for `find_first_threshold`: the same search, whose readings are marked."""
        self._is_searching = True
        try:
            return find_first_threshold(*arguments, **named)
        finally:
            self._is_searching = False

    def take_cut(self, *arguments: Any, **named: Any) -> Counts:
        """Stands for `snapshot_counts`: the same cut, whose readings are recorded."""
        return _RecordedCounts(snapshot_counts(*arguments, **named), self)


class _RecordedCounts(Counts):
    def __init__(self, counts: Counts, recorder: Recorder) -> None:
        super().__init__(counts.impl, counts._values, dropped=counts._dropped)
        self._recorder = recorder

    def below(self, metric: Metric, day: date, threshold: int = KEY_SPACE) -> int:
        """As `Counts.below`, recorded."""
        if (metric, day) not in self._values:
            return super().below(metric, day, threshold)  # refuses it
        return self._recorder.read(self._values[metric, day], metric, day, threshold)


@contextmanager
def recording(recorder: Recorder) -> Iterator[None]:
    """While this is open, releases made in this process are recorded, and take their noise from the recorder."""
    with (
        replaced(publish_release, "snapshot_counts", recorder.take_cut),
        replaced(draw_release, "SecureNoise", recorder.noise),
        replaced(draw_release, "find_first_threshold", recorder.search),
    ):
        yield


@contextmanager
def replaced(module: Any, name: str, stand_in: Any) -> Iterator[None]:
    """While this is open, `name` in `module` is `stand_in`.

    Raises:
        InternalError: There is no such name, so that an audit would look at nothing.
    """
    if not hasattr(module, name):
        raise InternalError(f"the audit no longer fits the release path: {module.__name__} has no {name}")
    original = getattr(module, name)
    setattr(module, name, stand_in)
    try:
        yield
    finally:
        setattr(module, name, original)
