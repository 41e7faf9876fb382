"""Commands of erasure: erase, erasures, flush-deletes. Ids arrive as bytes and are never printed or logged."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from dpdau_assets.cli.options import Json, open_existing, open_or_create, parse_day
from dpdau_assets.cli.output import counted, emit, table
from dpdau_assets.errors import UsageError


def erase(
    user_id: Annotated[str | None, typer.Argument(metavar="[USER_ID|-]", help="`-` reads ids, one a line.")] = None,
    source: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="One id a line, or a file as for ingest.")
    ] = None,
    user_column: Annotated[str | None, typer.Option(help="Column with the user id, in a file as for ingest.")] = None,
    through: Annotated[
        date | None, typer.Option(parser=parse_day, metavar="DAY", help="Last day to erase; default today.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Replay at once: files are clean when this returns.")] = False,
    as_json: Json = False,
) -> None:
    """Erase users.

    On every day up to --through, whenever their activity arrived or will arrive.
    """
    if (user_id is None) == (source is None):
        raise UsageError("name the users once", hint="erase USER_ID, erase - for standard input, or --from FILE")
    if user_column is not None and source is None:
        raise UsageError("--user-column needs a file", hint="name it with --from FILE")
    standard_input = _standard_input() if user_id == "-" else None
    from dpdau_assets.operations.erase.id_lists import ids_of_lines, read_user_ids
    from dpdau_assets.operations.erase.request import request_erasure
    from dpdau_assets.operations.pipeline.erasure_replay import flush_deletes

    workspace = open_or_create()
    now = workspace.now()
    last_day = through or now.astimezone(workspace.settings.zone).date()
    if source is not None:
        users = read_user_ids(workspace, source, user_column=user_column)
    elif standard_input is not None:
        users = ids_of_lines(standard_input)
    else:
        users = [(user_id or "").encode("utf-8", "surrogateescape")]
    receipt = request_erasure(workspace, users, through=last_day, now=now)
    if wait:
        flush_deletes(workspace)
    document = {"request": receipt.request, "requested": receipt.requested, "already_known": receipt.already_known}
    emit(document, as_json=as_json, text=lambda: _receipt(document, last_day, is_done=wait))


def _receipt(document: dict[str, Any], through: date, *, is_done: bool) -> str:
    """The answer to an erasure in words."""
    state = "replayed" if is_done else "pending; `dpdau flush-deletes` or the next build replays it"
    return (
        f"request {document['request']}: {counted(document['requested'], 'user')} through {through}, "
        f"{document['already_known']:,} already known; {state}"
    )


def _standard_input() -> BinaryIO:
    """Standard input as bytes; a process may have been started without one."""
    if sys.stdin is None or sys.stdin.closed:
        raise UsageError("standard input is closed", hint="pipe the ids into it, or use --from FILE")
    return sys.stdin.buffer


def erasures(
    pending: Annotated[bool, typer.Option("--pending", help="Only requests not replayed yet.")] = False,
    as_json: Json = False,
) -> None:
    """List erasure requests.

    With their age; no id is kept or shown.
    """
    from dpdau_assets.operations.erase.request import erasure_status

    rows = [row for row in erasure_status(open_existing()) if not pending or row["completed_at"] is None]
    emit(rows, as_json=as_json, text=lambda: _erasure_table(rows))


def _erasure_table(rows: list[dict[str, Any]]) -> str:
    """Requests, one a line."""
    if not rows:
        return "no erasure request"
    return table(
        ("request", "requested at", "through", "users", "completed at"),
        [
            (
                row["request"],
                str(row["requested_at"]),
                str(row["through_day"]),
                f"{row['users']:,}",
                str(row["completed_at"] or "-"),
            )
            for row in rows
        ],
    )


def flush(as_json: Json = False) -> None:
    """Replay every pending erasure now."""
    from dpdau_assets.operations.pipeline.erasure_replay import flush_deletes

    document = {"erasures_applied": flush_deletes(open_existing())}
    emit(document, as_json=as_json, text=lambda: f"replayed {counted(document['erasures_applied'], 'erasure request')}")
