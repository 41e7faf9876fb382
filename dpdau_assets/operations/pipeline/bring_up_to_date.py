"""Bringing days up to date: fold, replay, sketches and unions at one snapshot, under one hold of the lake lock.

Belongs here: the chain from staged files to the unions of a range of days. Each step belongs to its own operation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Literal

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.operations.erase.completion import complete_if_reached
from dpdau_assets.operations.erase.live_users import replay_in_session
from dpdau_assets.operations.pipeline.daily_sketches import build_sketches_in_session
from dpdau_assets.operations.pipeline.mau_unions import build_unions_in_session
from dpdau_assets.operations.pipeline.raw_events import fold_in_session
from dpdau_assets.operations.session.lineage import days_behind_windows
from dpdau_assets.operations.session.progress import Progress, no_progress
from dpdau_assets.operations.session.session import LakeSession, lake_session
from dpdau_assets.operations.session.workspace import Workspace

Through = Literal["live_users", "sketches", "unions"]


@dataclass(frozen=True, slots=True, repr=False)
class Built:
    """What changed (trusted side; prints as nothing).

    Attributes:
        raw_events: Days whose raw events took in staged files.
        live_users: Days whose live users changed.
        sketches: Days whose sketches changed.
        unions: Days whose unions changed.
    """

    raw_events: frozenset[date] = frozenset()
    live_users: frozenset[date] = frozenset()
    sketches: frozenset[date] = frozenset()
    unions: frozenset[date] = frozenset()


def bring_up_to_date(
    workspace: Workspace,
    days: DayRange,
    *,
    through: Through = "unions",
    progress: Progress = no_progress,
    on_wait: Callable[[str], None] | None = None,
) -> Built:
    """Brings the closed days of `days` and every day of the windows that end on them up to date.

    Guarantee: everything built is a function of the batches and erasures accepted before the lake lock was taken. What
    is current already is left as it is, so a repeat changes nothing.

    Args:
        workspace: The open data folder.
        days: Last days of the windows.
        through: The last step to take.
        progress: Shows how far it is.
        on_wait: Called once with one line when another process holds the lock.

    Raises:
        DataError: A stored file is not the recorded one.
        StorageError: The disk or the ledger refused.
    """
    behind = days_behind_windows(days, workspace.settings.mau_window_days)
    with lake_session(workspace, behind, on_wait=on_wait) as session:
        return bring_up_to_date_in_session(session, days, through=through, progress=progress)


def bring_up_to_date_in_session(
    session: LakeSession, days: DayRange, *, through: Through = "unions", progress: Progress = no_progress
) -> Built:
    """As `bring_up_to_date` within a session."""
    behind = days_behind_windows(days, session.workspace.settings.mau_window_days)
    raw_events = fold_in_session(session, behind, progress=progress)
    live_users = replay_in_session(session, behind, progress=progress)
    sketches: set[date] = set()
    unions: set[date] = set()
    if through != "live_users":
        sketches = build_sketches_in_session(session, session.closed(behind), progress=progress)
    if through == "unions":
        unions = build_unions_in_session(session, session.closed(days), progress=progress)
    complete_if_reached(session)
    return Built(*(frozenset(changed) for changed in (raw_events, live_users, sketches, unions)))
