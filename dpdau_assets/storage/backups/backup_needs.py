"""Finds the salt epochs that unexpired backups still need, because their data is keyed under them.

Belongs here: reading manifests for that question. Making and removing backups belongs to `backups`.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

from dpdau_assets.storage.disk.durable import read_bytes
from dpdau_assets.storage.ledger.ledger import parse_time


def lowest_epoch_needed(folder: Path, *, now: datetime) -> int | None:
    """Returns the lowest epoch that a backup below `folder` is keyed under; None when no unexpired backup needs any.

    A manifest that cannot be read counts as needing every epoch, because a destruction cannot be undone.

    Args:
        folder: `DATA_DIR/backups`.
        now: Aware time.
    """
    manifests = [*folder.glob("ledger-*.json"), *folder.glob("lake-*/manifest.json")]
    needed = [_needed_by(path, now=now) for path in manifests]
    return min((epoch for epoch in needed if epoch is not None), default=None)


def _needed_by(manifest: Path, *, now: datetime) -> int | None:
    try:
        document = json.loads(read_bytes(manifest))
        if parse_time(document["expires_at"]) <= now:
            return None
        lowest = document["lowest_epoch"]
        return None if lowest is None else int(lowest)
    except (ValueError, KeyError, TypeError):
        return 0
