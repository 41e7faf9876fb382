"""One hold of the lake lock: the snapshot it works at, the partitions it knows, and the files it has checked.

Belongs here: what every operation over key-level files shares from taking the lock to releasing it. How files become
visible belongs to `publication`; what is made of what, to the operation of each asset.

The snapshot is one state of the ledger, read once: batches and erasures accepted later are as if they did not exist, so
everything built and counted in the session is a function of one log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from dpdau_assets.core.quantities import EARLIEST_DAY, DayRange
from dpdau_assets.errors import DataError
from dpdau_assets.operations.session.calendar import last_closed_day
from dpdau_assets.operations.session.erased_keys import ErasedKeys
from dpdau_assets.operations.session.pieces import in_chunks, in_threads
from dpdau_assets.operations.session.progress import Progress
from dpdau_assets.operations.session.publication import (
    DAYS_PER_PUBLICATION,
    Publication,
    partition_files,
    publication,
    publish,
    recover,
)
from dpdau_assets.operations.session.removals import Removal
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.disk.durable import file_digest
from dpdau_assets.storage.lake.key_files import count_keys, read_keys
from dpdau_assets.storage.lake.layout import ASSETS, ERASURE_REPLAY
from dpdau_assets.storage.lake.parquet_bytes import Keys
from dpdau_assets.storage.ledger import batches, erasures, partitions, salt_facts
from dpdau_assets.storage.ledger.batches import StagedFile
from dpdau_assets.storage.ledger.partitions import Partition

AddDays = Callable[[Publication, list[date]], None]
"""Adds what some days become to a publication."""


@dataclass
class LakeSession:
    """What an operation knows while it holds the lake lock.

    Attributes:
        workspace: The open data folder.
        days: The days it may touch.
        last_closed: Last day that may be folded; later days stay staged.
        batch_seq: Newest batch of the snapshot.
        erasure_seq: Newest erasure request of the snapshot.
        staged: Staged files of the snapshot by day.
        erased: Tombstones to be applied.
        partitions: Rows of the ledger by (asset, day); kept up to date.
        is_thorough: Everything that can be made again is, whether it looks current or not.
        floor: First day that retention has not dropped; windows that hold an earlier one are frozen.
        removals: What this session took out of raw events, by day and epoch; sensitive.
    """

    workspace: Workspace
    days: DayRange
    last_closed: date
    batch_seq: int
    erasure_seq: int
    staged: dict[date, list[StagedFile]]
    erased: ErasedKeys
    partitions: dict[tuple[str, date], Partition]
    is_thorough: bool = False
    floor: date = EARLIEST_DAY
    removals: dict[tuple[date, int], Removal] = field(default_factory=dict, repr=False)
    _checked: dict[tuple[int, int, int, int], str] = field(default_factory=dict, repr=False)

    def partition(self, asset: str, day: date) -> Partition | None:
        """The row of one (asset, day), None when nothing is known."""
        return self.partitions.get((asset, day))

    def files(self, asset: str, day: date) -> Mapping[str, str]:
        """The files of one (asset, day); none when nothing is known."""
        row = self.partition(asset, day)
        return row.files if row else {}

    def closed(self, days: DayRange) -> list[date]:
        """The days of `days` that may be folded: closed, accepted and within the session."""
        first = max(days.first, self.days.first, self.floor)
        last = min(days.last, self.days.last, self.last_closed)
        return DayRange(first, last).days() if first <= last else []

    def is_frozen(self, first_day: date) -> bool:
        """Whether a window that starts on `first_day` holds a day that retention has dropped."""
        return max(first_day, EARLIEST_DAY) < self.floor

    def known_days(self, asset: str, days: DayRange) -> list[date]:
        """The days of `days` on which `asset` has a row, in order."""
        return sorted(day for name, day in self.partitions if name == asset and day in days)

    @contextmanager
    def publication(self) -> Iterator[Publication]:
        """A publication that is published at the end of the block, unless the block fails or leaves it empty."""
        with publication(self.workspace) as new:
            yield new
            rows = [*new.rows, *new.references]
            if rows or new.folded or new.rewritten:
                publish(self.workspace, new, self.partitions)
                self.partitions.update({(row.asset, row.day): row for row in rows})
                self._forget_staged(new)

    def publish_days(
        self,
        asset: str,
        days: list[date],
        add: AddDays,
        *,
        step: str,
        progress: Progress,
        size: int = DAYS_PER_PUBLICATION,
    ) -> set[date]:
        """Publishes the partitions of an asset on some days, `size` days at a time; the days whose files changed.

        Args:
            asset: The asset.
            days: The days, in order.
            add: Adds the partitions of some of the days to a publication.
            step: Name of the step, for `progress`.
            progress: Shows how far it is.
            size: How many days become visible together.
        """
        changed: set[date] = set()
        for done, chunk in enumerate(in_chunks(days, size)):
            progress(step, done * size, len(days))
            before = {day: dict(self.files(asset, day)) for day in chunk}
            with self.publication() as new:
                add(new, chunk)
            changed |= {day for day in chunk if dict(self.files(asset, day)) != before[day]}
        progress(step, len(days), len(days))
        return changed

    def staged_path(self, file: StagedFile) -> Path:
        """Where a staged file is."""
        return self.workspace.lake.staging_path(file.day, batch=file.batch, epoch=file.epoch)

    def read(self, path: Path, digest: str) -> Keys:
        """The keys of a file that has the recorded digest; sensitive.

        Raises:
            DataError: The file is missing or not the recorded one.
        """
        keys = read_keys(path, digest=digest)
        self._checked[_identity(path)] = digest
        return keys

    def live_files(self, day: date, epoch: int) -> list[Path]:
        """The file of a day's live users under one epoch, none when there is nobody."""
        is_there = str(epoch) in self.files(ERASURE_REPLAY, day)
        return [self.workspace.lake.partition_path(ERASURE_REPLAY, day, epoch=epoch)] if is_there else []

    def read_live(self, day: date, epoch: int, path: Path) -> Keys:
        """The keys of one of `live_files`; sensitive. Errors as `read`."""
        return self.read(path, self.files(ERASURE_REPLAY, day)[str(epoch)])

    def count_live(self, day: date) -> int | None:
        """The number of live users of a day under its own epoch, None when there is nobody; sensitive.

        Raises:
            DataError: The file is missing or not the recorded one.
        """
        epoch = self.workspace.salts.calendar.epoch_of(day)
        files = {path: self.files(ERASURE_REPLAY, day)[str(epoch)] for path in self.live_files(day, epoch)}
        self.check(files)
        return sum(map(count_keys, files)) if files else None

    def check(self, files: Mapping[Path, str]) -> None:
        """Makes sure that files hold the recorded bytes; each file is read at most once in a session.

        Raises:
            DataError: A file is missing or not the recorded one.
        """
        for path in in_threads(self._wrong_file, list(files.items())):
            if path is not None:
                raise DataError(
                    f"{path} does not hold the bytes that the ledger recorded",
                    hint="run `dpdau rebuild` over that day; if that does not help, `dpdau restore --lake`",
                )

    def check_partitions(self, asset: str, days: Iterable[date]) -> None:
        """As `check`, for all files of some partitions."""
        lake = self.workspace.lake
        self.check(
            {path: d for day in days for path, d in partition_files(lake, asset, day, self.files(asset, day)).items()}
        )

    def _wrong_file(self, file: tuple[Path, str]) -> Path | None:
        """The path of a file that does not hold the recorded bytes, None when it does."""
        path, digest = file
        identity = _identity(path)
        if self._checked.get(identity) != digest:
            if file_digest(path) != digest:
                return path
            self._checked[identity] = digest
        return None

    def _forget_staged(self, new: Publication) -> None:
        gone = {*new.folded, *(file for file, _ in new.rewritten)}
        for day in {file.day for file in gone}:
            self.staged[day] = [file for file in self.staged.get(day, []) if file not in gone]
        for file, digest in new.rewritten:
            if digest is not None:
                self.staged[file.day].append(StagedFile(file.batch_seq, file.batch, file.day, file.epoch, digest))


@contextmanager
def lake_session(
    workspace: Workspace,
    days: DayRange | None,
    *,
    is_thorough: bool = False,
    on_wait: Callable[[str], None] | None = None,
) -> Iterator[LakeSession]:
    """Takes the lake lock, repairs what a crash left, and reads the snapshot.

    Args:
        workspace: The open data folder.
        days: Days the session may touch; None for every day that is known or staged.
        is_thorough: Whether completed tombstones are applied again and everything is made again (see `rebuild`).
        on_wait: Called once with one line when another process holds the lock.

    Raises:
        StorageError: The lock, the disk or the ledger refused.
        DataError: An interrupted publication left a file that nobody recorded.
    """
    with workspace.lake.lock(on_wait=on_wait):
        workspace.lake.sweep_temporary()
        recover(workspace)
        closed = last_closed_day(workspace.settings, workspace.now())
        with workspace.ledger.read() as connection:
            workspace.check_salts(connection)
            first, last = (days.first, days.last) if days else (None, None)
            batch_seq, erasure_seq = batches.last_seq(connection), erasures.last_seq(connection)
            staged: dict[date, list[StagedFile]] = {}
            for file in batches.staged_between(connection, first, last):
                staged.setdefault(file.day, []).append(file)
            rows = partitions.load(connection, ASSETS, first, last)
            held = days or _range_of([*staged, *(day for _, day in rows)], default=closed)
            erased = ErasedKeys.read(connection, _epochs_of(workspace, held), only_pending=not is_thorough)
            floor = salt_facts.retention_floor(connection)
        yield LakeSession(workspace, held, closed, batch_seq, erasure_seq, staged, erased, rows, is_thorough, floor)


def _range_of(days: list[date], *, default: date) -> DayRange:
    return DayRange(min(days), max(days)) if days else DayRange.single(default)


def _epochs_of(workspace: Workspace, days: DayRange) -> range:
    """The epochs under which files of `days` may be keyed."""
    calendar, length = workspace.salts.calendar, workspace.settings.mau_window_days
    first, last = max(days.first, EARLIEST_DAY), max(days.last, EARLIEST_DAY)
    return range(calendar.keyed_epochs(first, length).start, calendar.keyed_epochs(last, length).stop)


def _identity(path: Path) -> tuple[int, int, int, int]:
    """What stays the same while nobody writes to a file, and under every one of its links."""
    try:
        status = path.stat()
    except OSError:
        raise DataError(
            f"{path} is recorded but does not exist",
            hint="run `dpdau rebuild` over that day; if that does not help, `dpdau restore --lake`",
        ) from None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
