"""What happens to an inbox file whose rows are recorded: it goes, or moves to inbox/done.

Files outside DATA_DIR/inbox are never touched.
"""

from __future__ import annotations

from pathlib import Path

from dpdau_assets.storage.disk.os_errors import make_folder, storage_errors
from dpdau_assets.storage.lake.lake import Lake
from dpdau_assets.storage.lake.layout import DONE


def put_away(lake: Lake, path: Path, *, batch: str, is_kept: bool) -> None:
    """Removes the inbox file `path`, or moves it to inbox/done; one that is gone already is fine.

    Args:
        lake: The data folder.
        path: The source; left alone when it is not in the inbox, or already in inbox/done.
        batch: Name of the batch, which tells files of one name apart in inbox/done.
        is_kept: KEEP_SOURCES.

    Raises:
        StorageError: It cannot be removed; its rows are recorded, and the next attempt recognises it.
    """
    any_file = path.parent / "*"  # an error outlives the file, and its name may hold an id
    inbox = lake.inbox.resolve()
    place = path.parent.resolve() / path.name
    if inbox not in place.parents or inbox / DONE in place.parents:
        return
    if not is_kept:
        with storage_errors(any_file, "remove"):
            place.unlink(missing_ok=True)
        return
    target = make_folder(inbox / DONE) / place.name
    if target.exists():
        target = target.with_name(f"{batch[:8]}-{place.name}")
    with storage_errors(any_file, "move"):
        if place.exists():
            place.replace(target)
