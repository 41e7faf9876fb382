"""Commands that bring activity in and keep it built: init, ingest, discard-batch, rebuild."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from dpdau_assets.cli.options import End, Json, Start, open_existing, open_or_create, reached_days
from dpdau_assets.cli.output import counted, emit, progress_bar
from dpdau_assets.errors import InputError, UsageError


def init(
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="Mark the folder as synthetic for ever: seeded noise is allowed in it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make the data folder.

    With its ledger, secrets, lake and DuckDB catalogue of views. Harmless when repeated.
    """
    from dpdau_assets.operations.session.open_workspace import open_workspace
    from dpdau_assets.settings.settings import load_settings

    settings = load_settings()
    workspace = open_workspace(settings, synthetic=synthetic)
    catalogue = workspace.lake.write_catalogue()
    document = {"data_dir": str(settings.root), "catalogue": str(catalogue), "synthetic": workspace.is_synthetic}
    mark = " (synthetic)" if workspace.is_synthetic else ""
    emit(document, as_json=as_json, text=lambda: f"ready: {settings.root}{mark}; next: dpdau ingest --from FILE")


def ingest(
    sources: Annotated[list[Path] | None, typer.Argument(metavar="[PATH]...", help="More files.")] = None,
    source: Annotated[list[Path] | None, typer.Option("--from", metavar="PATH", help="A file of events.")] = None,
    source_format: Annotated[
        str | None, typer.Option("--format", metavar="jsonl|csv|parquet", help="Default: by the file's name.")
    ] = None,
    user_column: Annotated[str | None, typer.Option(help="Column with the user id.")] = None,
    time_column: Annotated[str | None, typer.Option(help="Column with the day or time.")] = None,
    op_column: Annotated[str | None, typer.Option(help="Column with the operation, + or -.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse a file that has a bad row.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show rows, days and rejects; change nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Read files of events.

    Each is read once, pseudonymised and staged by day. The same content twice changes nothing.
    """
    paths = [*(source or []), *(sources or [])]
    if not paths:
        raise UsageError("no file to ingest", hint="name one: dpdau ingest --from FILE")
    if source_format not in (None, "jsonl", "csv", "parquet"):
        raise UsageError(f"--format {source_format} is unknown", hint="use jsonl, csv or parquet")
    missing = next((path for path in paths if not path.exists()), None)
    if missing is not None:
        raise InputError(f"{missing} does not exist", hint="check the path")
    from dpdau_assets.core.activity import ColumnMapping
    from dpdau_assets.operations.ingest.stage import stage_files

    mapping = ColumnMapping(user=user_column, time=time_column, op=op_column)
    with progress_bar() as progress:
        report = stage_files(
            open_or_create(),
            paths,
            mapping=mapping,
            source_format=source_format,
            strict=strict,
            dry_run=dry_run,
            progress=progress,
        )
    document = report.to_json()
    emit(document, as_json=as_json, text=lambda: _ingested(document, is_dry_run=dry_run))


def _ingested(document: dict[str, Any], *, is_dry_run: bool) -> str:
    """The ingest report in words."""
    verb = "would accept" if is_dry_run else "accepted"
    days, first, last = document["days"], document["first_day"], document["last_day"]
    span = f" ({first} to {last})" if days > 1 else f" ({first})" if days else ""
    accepted = f"{document['accepted']:,} of {counted(document['events'], 'event')}"
    lines = [f"{verb} {accepted} on {counted(days, 'day')}{span}"]
    rejected = {reason: count for reason, count in document["rejected"].items() if count}
    if rejected:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(rejected.items()))
        where = "" if is_dry_run else " (line numbers in DATA_DIR/reports/quarantine)"
        lines.append(f"{'would reject' if is_dry_run else 'rejected'} {sum(rejected.values()):,}: {reasons}{where}")
    if document["duplicates_of_earlier_batches"]:
        lines.append(f"{document['duplicates_of_earlier_batches']} of the files had been ingested before")
    return "\n".join(lines)


def discard(
    batch: Annotated[str, typer.Argument(help="The batch, as `dpdau status --json` names it.")], as_json: Json = False
) -> None:
    """Take back a batch that is not folded yet."""
    from dpdau_assets.operations.ingest.discard_batch import discard_batch

    discard_batch(open_existing(), batch)
    emit({"discarded": batch}, as_json=as_json, text=lambda: f"discarded batch {batch}")


def rebuild(
    start: Start,
    end: End,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Give up files of these days that nothing can bring back.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Build a range of days again.

    From the stored activity; released values stay as they are. With --accept-loss, which `dpdau restore --lake` should
    make unnecessary, days with lost files count without them from now on.
    """
    from dpdau_assets.operations.recover.rebuild import rebuild as rebuild_days

    workspace = open_existing()
    days = reached_days(workspace, start, end)
    started_at = time.monotonic()
    with progress_bar() as progress:
        rebuild_days(workspace, days, accept_loss=accept_loss, progress=progress)
    document = {"days": len(days), "seconds": round(time.monotonic() - started_at, 3)}
    emit(
        document,
        as_json=as_json,
        text=lambda: f"rebuilt {counted(len(days), 'day')} in {document['seconds']:.1f} s",
    )
