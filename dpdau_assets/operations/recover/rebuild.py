"""Rebuild: everything that can be made again is, from raw events whose every byte has been checked.

Belongs here: the thorough way through the chain of `bring_up_to_date`, which trusts what the ledger calls current. What
can be brought back without a copy is (`repair`). Released values are final and are not touched.
"""

from __future__ import annotations

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.operations.erase.live_users import clean_staged_in_session
from dpdau_assets.operations.pipeline.bring_up_to_date import Built, bring_up_to_date_in_session
from dpdau_assets.operations.recover.repair import (
    clean_ledger,
    drop_unreadable_intent,
    give_up_lost,
    repair_raw_events,
)
from dpdau_assets.operations.session.lineage import days_behind_windows
from dpdau_assets.operations.session.orphans import remove_orphans
from dpdau_assets.operations.session.progress import Progress, no_progress
from dpdau_assets.operations.session.session import lake_session
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.lake.layout import RAW_EVENTS


def rebuild(
    workspace: Workspace, days: DayRange, *, accept_loss: bool = False, progress: Progress = no_progress
) -> Built:
    """Makes the partitions of the closed days of `days`, and of the days in their windows, again.

    Guarantee: raw events are checked in full, every tombstone is applied to them, whether its request is complete or
    not, and the rest is made from them; the same content gives the same bytes and digests as before. Files that no row
    names are removed, raw events that are missing or damaged are taken from the day's live users where those are whole,
    and a ledger with an erased pseudonym in its free space is written anew.

    Args:
        workspace: The open data folder.
        days: Last days of the windows.
        accept_loss: Whether files of `days` that nothing here can bring back are given up, so that their days count
            without them; sources of those days may be ingested again.
        progress: Shows how far it is.

    Returns:
        What changed; nothing where everything was right (trusted side).

    Raises:
        DataError: A file of raw events or of staging is not the recorded one.
        StorageError: The disk or the ledger refused.
    """
    behind = days_behind_windows(days, workspace.settings.mau_window_days)
    with workspace.lake.lock():
        drop_unreadable_intent(workspace)
    with lake_session(workspace, behind, is_thorough=True) as session:
        repair_raw_events(session, behind)
        if accept_loss:
            give_up_lost(session, days)
        remove_orphans(workspace)
        workspace.lake.sweep_temporary(is_thorough=True)
        session.check_partitions(RAW_EVENTS, session.known_days(RAW_EVENTS, behind))
        clean_staged_in_session(session)
        built = bring_up_to_date_in_session(session, days, progress=progress)
    clean_ledger(workspace)
    return built
