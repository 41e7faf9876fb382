"""Recording what releases are made from, while an audit runs: exact counts before noise, and the noise itself.

Belongs here: the recorder and the noise that the audit hands to the workspaces of its runs. This is the only place
where exact counts of a release are kept. A workspace takes it in folders created as synthetic alone, and no setting,
option of a command or file leads here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from dpdau_assets.core.mechanisms.interface import NoiseSource
from dpdau_assets.core.mechanisms.samplers import SeededNoise
from dpdau_assets.core.quantities import Metric
from dpdau_assets.core.release.counts import Counts, StoredCount, releasable_count
from dpdau_assets.core.sketches.protocol import KEY_SPACE
from dpdau_assets.errors import InternalError
from dpdau_assets.operations.session.workspace import NoiseFactory, ReleaseSnapshot

Reader = Callable[[StoredCount, int], int]
"""Makes the number that noise is added to, of what the snapshot holds and the threshold."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One number that noise was added to. Of synthetic users; in a real folder it would be sensitive.

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


@dataclass(frozen=True, slots=True)
class AskedDraw:
    """One draw that a run asks noise for.

    Attributes:
        number: Which draw of the run it is, from 1.
        account: Number of the budget account.
        draw: Number within the account, as for `NoiseFactory`.
    """

    number: int
    account: int
    draw: int

    @property
    def is_shared(self) -> bool:
        """Whether the noise that all releases of the account share is drawn."""
        return self.draw < 0


def coupled_noise(asked: AskedDraw) -> NoiseSource:
    """The same noise in two runs, so that their outsides can be compared byte by byte; never for people."""
    return SeededNoise(b"noise of the audit" + asked.number.to_bytes(8, "big"))


class Recorder:
    """What one run's releases read, in order.

    Args:
        follow: Readings of a neighbouring run. Each draw is then given that run's number while this run's own is
            recorded: what leaves can differ only by something else than the numbers.
        reader: Makes the numbers; a control replaces it.
        source: Makes the noise of each draw; None leaves the workspace its own.
    """

    def __init__(
        self,
        follow: Iterable[Reading] = (),
        *,
        reader: Reader = releasable_count,
        source: Callable[[AskedDraw], NoiseSource] | None = coupled_noise,
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

    @property
    def noise(self) -> NoiseFactory | None:
        """What to hand to the workspace; None where releases make their own noise."""
        return None if self._source is None else self._noise

    def counts(self, snapshot: ReleaseSnapshot) -> Counts:
        """The counts of a snapshot, whose readings are recorded."""
        return RecordedCounts(snapshot.take(), self)

    def _noise(self, *, account: int, draw: int) -> NoiseSource:
        if self._source is None:
            raise InternalError("this recorder makes no noise")
        self._is_searching = draw == 0  # asked for before the first reading of a draw
        self.draws += 1
        return self._source(AskedDraw(self.draws, account, draw))


class RecordedCounts(Counts):
    """Counts whose readings are recorded.

    Args:
        counts: The counts of a snapshot.
        recorder: Takes the readings, and decides what is drawn on.
    """

    def __init__(self, counts: Counts, recorder: Recorder) -> None:
        super().__init__(counts.impl, {})
        self._counts = counts
        self._recorder = recorder

    def stored(self, metric: Metric, day: date) -> StoredCount:
        """As `Counts.stored`, of the counts that are recorded."""
        return self._counts.stored(metric, day)

    def below(self, metric: Metric, day: date, threshold: int = KEY_SPACE) -> int:
        """As `Counts.below`, recorded; what it refuses is not."""
        return self._recorder.read(self.stored(metric, day), metric, day, threshold)
