"""The command of retention: apply-retention."""

from __future__ import annotations

from datetime import date
from typing import Annotated

import typer

from dpdau_assets.cli.options import Json, open_existing, parse_day
from dpdau_assets.cli.output import emit, progress_bar, warn


def apply(
    today: Annotated[
        date | None,
        typer.Option("--today", parser=parse_day, metavar="DAY", help="Confirms the clock after months of silence."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Drop what is past RETENTION_DAYS, for good.

    Key-level data, tombstones and secrets. Released values and the counts of windows stay. Dagster runs it every day.
    """
    from dpdau_assets.operations.lifecycle.apply_retention import apply_retention

    workspace = open_existing()
    with progress_bar() as bar:
        done = apply_retention(workspace, confirmed_today=today, progress=bar)
    if done.held_from is None:
        text = "RETENTION_DAYS is not set: everything is kept"
    else:
        text = f"key-level data is held from {done.held_from} on; the first salt epoch left is {done.lowest_epoch}"
    emit(done.to_json(), as_json=as_json, text=lambda: text)
    if done.lowest_epoch_needed_by_backups is not None:
        warn("dpdau: note: older secrets stay until the backups that need them have expired")
    if done.is_first_secret_set and done.lowest_epoch > 0:
        warn("dpdau: note: HASH_SALT_SECRET is still set: remove it, destroyed secrets can be computed from it again")
