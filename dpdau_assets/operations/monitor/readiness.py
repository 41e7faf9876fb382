"""Whether a data folder can be worked with now: its ledger, its disk, its salts.

Belongs here: three small looks that a health check may repeat every second. What is damaged, and where, is told by
`verify`. The answer names parts only: no path, no day, nothing about data.
"""

from __future__ import annotations

import os
import shutil

from dpdau_assets.errors import DpdauError
from dpdau_assets.operations.session.open_workspace import open_workspace
from dpdau_assets.operations.session.workspace import Workspace

LEAST_FREE_BYTES = 16 << 20
"""With less than this on the disk no release, nor any other transaction, can be relied on."""
REASONS = {
    "ledger": "the ledger cannot be read",
    "disk": "the data folder cannot be written, or its disk is full",
    "salts": "salts, journal and ledger do not agree or cannot be read",
}


def unready_parts(workspace: Workspace) -> tuple[str, ...]:
    """The keys of `REASONS` that apply; empty when the folder is ready.

    Args:
        workspace: The open data folder.
    """
    parts = []
    try:
        workspace.now()
    except DpdauError:
        parts.append("ledger")
    if not _is_writable(workspace):
        parts.append("disk")
    if not parts:
        try:
            open_workspace(workspace.settings, clock=workspace.clock, create=False).close()
        except DpdauError:
            parts.append("salts")
    return tuple(parts)


def _is_writable(workspace: Workspace) -> bool:
    root = workspace.lake.root
    try:
        return os.access(root, os.W_OK | os.X_OK) and shutil.disk_usage(root).free >= LEAST_FREE_BYTES
    except OSError:
        return False
