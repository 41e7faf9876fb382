"""Staging: sources are read once and whole, and become pseudonyms by day that are recorded together or not at all.

Belongs here: the order of steps for one source, its report, what happens to inbox files. Does not belong here: reading
(`engines`), merging into days (`pipeline`).

    1  the batch's name is computed; a name that the ledger knows ends here
    2  the engine reads the source; key files are written to tmp/
    3  under the lake lock: keys of erased users are dropped, files become durable and move to staging/
    4  one ledger transaction records the batch, its files and the erasures of its "-" rows
    5  only then an inbox file is removed

A crash before 4 leaves files that no ledger row names: the same batch writes the same places again, and whoever applies
an erasure removes them first. A crash after 4 leaves an inbox file that step 1 recognises.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from dpdau_assets.core.activity import ColumnMapping
from dpdau_assets.core.quantities import EARLIEST_DAY
from dpdau_assets.engines.choose import stage_engine
from dpdau_assets.engines.protocol import Pseudonymiser, Reading, RowCounts, RowLimits
from dpdau_assets.engines.sources.source import Source, open_source
from dpdau_assets.errors import InputError, InternalError
from dpdau_assets.operations.erase.tombstones import erasure_filter_of
from dpdau_assets.operations.ingest.batch_name import FileState, batch_name
from dpdau_assets.operations.ingest.inbox import put_away
from dpdau_assets.operations.ingest.record_batch import Outcome, Terms, record_batch
from dpdau_assets.operations.ingest.report import StageReport, duplicate, report_of, summed
from dpdau_assets.operations.ingest.staging_area import StagingArea, staging_area
from dpdau_assets.operations.session.progress import Progress, no_progress
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.ledger import batches, erasures

MOST_ATTEMPTS = 3
"""The first erasure ever may settle, while a source is read, which days are too old; then it is read once more."""


@dataclass(frozen=True, slots=True)
class _Options:
    mapping: ColumnMapping
    source_format: str | None
    is_strict: bool
    is_dry_run: bool
    progress: Progress


def stage_files(
    workspace: Workspace,
    paths: Sequence[Path],
    *,
    mapping: ColumnMapping | None = None,
    source_format: str | None = None,
    strict: bool = False,
    dry_run: bool = False,
    progress: Progress = no_progress,
) -> StageReport:
    """Stages sources, each as its own batch; what is recorded when this returns survives a crash.

    Guarantee: the same content with the same columns and time zone changes nothing the second time, also when two
    processes stage it at once. A row that fails is counted and never stops a source. Raw ids reach no disk. A source
    inside DATA_DIR/inbox is removed after it was recorded (or moved to inbox/done with KEEP_SOURCES); others are never
    touched.

    Args:
        workspace: The open data folder.
        paths: Files. All are looked at before the first is read.
        mapping: Columns that have other names than the usual ones (public).
        source_format: `jsonl`, `csv` or `parquet`; None goes by name and first bytes.
        strict: Refuses a source that has a bad row: nothing of it is recorded.
        dry_run: Reads and reports, and changes nothing.
        progress: Takes how far it is.

    Raises:
        InputError: A source cannot be used, or has a bad row under `strict`; sources before it are recorded.
        StorageError: Disk, memory or ledger refused.
    """
    options = _Options(mapping or ColumnMapping(), source_format, strict, dry_run, progress)
    for path in paths:
        open_source(path, options.mapping, source_format=source_format)
    workspace.lake.sweep_temporary()
    return summed([_stage(workspace, path, options) for path in paths])


def stage_inbox(workspace: Workspace, names: Iterable[str], *, progress: Progress = no_progress) -> StageReport:
    """As `stage_files` for files of DATA_DIR/inbox; a bad one does not keep the others waiting.

    Errors call a file by its place among `names`: they are kept for longer than files are, and a name may hold an id.

    Args:
        workspace: The open data folder.
        names: File names in the inbox; one that is gone was taken by another process.
        progress: Takes how far it is.

    Raises:
        InputError: At least one file cannot be used; it stays where it is, the others are recorded.
        StorageError: Disk, memory or ledger refused.
    """
    options = _Options(ColumnMapping(), None, is_strict=False, is_dry_run=False, progress=progress)
    workspace.lake.sweep_temporary()
    done: list[StageReport] = []
    failures: list[InputError] = []
    for number, name in enumerate(names, start=1):
        path = workspace.lake.inbox / Path(name).name
        if not path.exists():
            continue
        try:
            done.append(_stage(workspace, path, options, label=f"inbox file {number} of this run"))
        except InputError as failure:
            failures.append(failure)
    if failures:
        more = f" (and {len(failures) - 1} more of the inbox)" if len(failures) > 1 else ""
        raise InputError(f"{failures[0].message}{more}", hint=failures[0].hint) from failures[0]
    return summed(done)


def _stage(workspace: Workspace, path: Path, options: _Options, *, label: str | None = None) -> StageReport:
    before = FileState.of(path, label)
    source = open_source(path, options.mapping, source_format=options.source_format, label=label)
    batch = batch_name(source, key=workspace.salts.batch_key, timezone=workspace.settings.timezone)
    with workspace.ledger.read() as connection:
        is_known = batches.find(connection, batch) is not None
    report = duplicate() if is_known else _read_and_record(workspace, source, batch, before, options)
    if not options.is_dry_run:
        put_away(workspace.lake, path, batch=batch, is_kept=workspace.settings.keep_sources)
    return report


def _read_and_record(
    workspace: Workspace, source: Source, batch: str, before: FileState, options: _Options
) -> StageReport:
    for _ in range(MOST_ATTEMPTS):
        terms = _terms(workspace)
        with staging_area(workspace.lake) as area, _reading(workspace, source, area, terms, options) as reading:
            area.finish()
            if FileState.of(source.path, source.label) != before:
                raise InputError(f"{source.label} changed while it was read", hint="ingest it when it is whole")
            counts = reading.counts
            _refuse_bad_rows(source, counts, options)
            if options.is_dry_run:
                return report_of(counts)
            outcome = record_batch(workspace, source, batch, area, reading, terms)
        if outcome is not Outcome.TERMS_CHANGED:
            return report_of(counts) if outcome is Outcome.RECORDED else duplicate()
    raise InternalError("which days are accepted keeps changing while they are read")


def _terms(workspace: Workspace) -> Terms:
    """What is accepted now: no day that erasures cannot reach, that is past retention, or whose epochs are gone; and
    nobody who is erased."""
    calendar, lowest = workspace.salts.calendar, workspace.salts.lowest_epoch
    window_days = workspace.settings.mau_window_days
    oldest = calendar.first_day(lowest) + timedelta(days=window_days - 1) if lowest else EARLIEST_DAY
    with workspace.ledger.read() as connection:
        floor = max(erasures.acceptance_floor(connection), workspace.retained_from(connection))
        limits = RowLimits(workspace.settings.zone, workspace.today(), max(oldest, floor))
        return Terms(limits, erasure_filter_of(workspace, connection), erasures.last_seq(connection))


def _reading(
    workspace: Workspace, source: Source, area: StagingArea, terms: Terms, options: _Options
) -> AbstractContextManager[Reading]:
    salts, settings, lake = workspace.salts, workspace.settings, workspace.lake
    engine = stage_engine(settings.compute_engine, memory_limit=lake.memory_limit, threads=lake.threads)
    pseudonymiser = Pseudonymiser(salts.calendar, settings.mau_window_days, salts.epoch_key, terms.erasure_filter)
    step = f"reading {source.label}"
    return engine.read(
        source,
        pseudonymiser,
        limits=terms.limits,
        sink=(lambda _activity: None) if options.is_dry_run else area.add,
        progress=lambda done, total: options.progress(step, done, total),
    )


def _refuse_bad_rows(source: Source, counts: RowCounts, options: _Options) -> None:
    if not (options.is_strict and counts.rejected):
        return
    reason, lines = next(iter(counts.lines.items()))
    first = f", the first ({reason}) in line {lines[0]:,}" if lines else ""
    raise InputError(
        f"{source.label} has {sum(counts.rejected.values()):,} bad rows{first}",
        hint="nothing of it was recorded; correct the rows, or leave --strict out to skip them",
    )
