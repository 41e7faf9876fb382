"""Commands of recovery: backup, restore."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dpdau_assets.cli.options import Json, open_existing
from dpdau_assets.cli.output import counted, emit
from dpdau_assets.errors import UsageError


def backup(
    lake: Annotated[bool, typer.Option("--lake", help="Copy raw events, unions and staged files too.")] = False,
    as_json: Json = False,
) -> None:
    """Copy the ledger into backups/, checked.

    While others go on; copies older than BACKUP_RETENTION_DAYS are removed. Secrets are never copied.
    """
    from dpdau_assets.operations.recover.backup import backup as make_backup

    document = make_backup(open_existing(), with_lake=lake).to_json()
    emit(document, as_json=as_json, text=lambda: _backup_text(document))


def _backup_text(document: dict[str, Any]) -> str:
    lines = [f"{made['path']}: intact, kept until {made['expires_at'][:10]}" for made in document["made"]]
    if document["removed"]:
        lines.append(f"removed past their date: {', '.join(document['removed'])}")
    lines.append("salts are not in it: keep an export of `dpdau salts export` elsewhere")
    return "\n".join(lines)


def restore(
    source: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="Copy to start from; default: the newest intact one.")
    ] = None,
    lake: Annotated[bool, typer.Option("--lake", help="Put the data of the newest copy back too.")] = False,
    assume_released: Annotated[
        str | None,
        typer.Option(metavar="FROM..TO", help="Charge days that may have been released in a gap of the journal."),
    ] = None,
    reason: Annotated[str, typer.Option(help="Who says which days were released; stored with the charges.")] = "",
    as_json: Json = False,
) -> None:
    """Bring the ledger back from a copy and the journal.

    Values, spend and erasures are as they were, and every erasure is applied again. Stop everything else first.
    """
    if assume_released is not None:
        if source is not None or lake:
            raise UsageError("--assume-released stands alone", hint="restore first, then charge what a gap lost")
        _assume(assume_released, reason, as_json=as_json)
        return
    if reason:
        raise UsageError("--reason belongs to --assume-released", hint="leave it out")
    from dpdau_assets.operations.recover.restore import restore as bring_back
    from dpdau_assets.settings.settings import load_settings

    document = bring_back(load_settings(), source=source, with_lake=lake).to_json()
    emit(document, as_json=as_json, text=lambda: _restore_text(document))


def _assume(days: str, reason: str, *, as_json: bool) -> None:
    from dpdau_assets.operations.budget.lost_releases import assume_released, parse_days

    document = assume_released(open_existing(), parse_days(days), reason=reason).to_json()
    charged = len(document["charged"])
    emit(
        document,
        as_json=as_json,
        text=lambda: (
            f"charged {counted(charged, 'lost value')}; still unaccounted for: {_days(document['unaccounted'])}"
        ),
    )


def _days(ranges: list[dict[str, str]]) -> str:
    return ", ".join(f"{each['from']}..{each['to']}" for each in ranges) or "none"


def _restore_text(document: dict[str, Any]) -> str:
    lines = [
        f"restored from {document['source']} and {counted(document['lines_replayed'], 'line')} of the journal; "
        f"{counted(document['erasures_applied'], 'erasure request')} applied again"
    ]
    if document["lake"]:
        lines.append(
            f"data put back from {document['lake']}; {counted(document['batches_to_repeat'], 'newer batch source')} "
            "to be ingested again"
        )
    if document["damaged_files"]:
        lines.append(
            f"{counted(document['damaged_files'], 'damaged file')}: `dpdau verify` names their days and what helps"
        )
    if document["missing_files"] and not document["lake"]:
        lines.append(
            f"{counted(document['missing_files'], 'file')} of raw events lost, or emptied by erasures since the copy "
            "of the ledger: `dpdau verify` names their days and what helps"
        )
    if document["gaps"]:
        lines.append(
            "the journal has a gap: days that may have been released then are not released before "
            f"`dpdau restore --assume-released FROM..TO --reason TEXT` charges them: {_days(document['unaccounted'])}"
        )
        lines.append("erasures requested in the gap are lost: request them again; so are events, unless still staged")
    lines.append("derived partitions are built again when they are next needed, or by `dpdau rebuild`")
    return "\n".join(lines)
