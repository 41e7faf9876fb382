"""The life of the secret offsets that correlated and joint noise share over a month.

Belongs here: opening an account's offset with its charge, using it, destroying its key. Does not belong here: the key
files (`storage.offsets`), what an offset is for (`core.mechanisms.correlated`), whether it fits (`budget_check`).

    opened      in the transaction of the first release that needs it: charged, drawn, sealed; its key made durable
    used        by every release of the account, for as long as the key is there
    destroyed   35 days after the month's end, by Dagster's daily retention job, `dpdau apply-retention` or the next
                release, whichever comes first; one opened after that lasts 35 days
    gone        a later release of the account pays for a new offset, under the same cap; so does one after the key was
                lost, or replaced by an opening that a crash undid, because an offset is never guessed and never used
                without its charge
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

from sqlalchemy import Connection

from dpdau_assets.core.dp_events import EventCounts
from dpdau_assets.core.mechanisms.interface import NoiseSource, ReleaseNoise
from dpdau_assets.core.quantities import days_of_period
from dpdau_assets.errors import InternalError
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.keys.shared_noise_keys import OffsetKeys
from dpdau_assets.storage.ledger import accounts
from dpdau_assets.storage.ledger.shared_noise_charges import last_openings

OFFSET_LIFE_DAYS = 35
"""Days after a month's end in which late releases and revisions still use its offset."""


def offset_keys(workspace: Workspace) -> OffsetKeys:
    """The key files of a data folder's accounts."""
    return OffsetKeys(workspace.lake.offsets_folder, workspace.ledger_id)


def open_offset(
    connection: Connection,
    account: accounts.Account,
    mechanism: ReleaseNoise,
    source: NoiseSource,
    *,
    day: date,
    now: datetime,
    workspace: Workspace,
) -> tuple[accounts.Account, int]:
    """Draws an account's offset, stores it sealed and charges it; the account with it, and the offset (sensitive).

    Args:
        connection: The write transaction of the release that needs the offset.
        account: The account.
        mechanism: Its noise, which has an offset.
        source: Where the randomness comes from.
        day: The day of that release.
        now: The time.
        workspace: The open data folder.
    """
    offset = mechanism.draw_offset(source)
    if offset is None:
        raise InternalError("independent noise has no offset to open")
    sealed = accounts.set_sealed_offset(connection, account, offset_keys(workspace).seal(account, offset))
    events = [event for event, count in mechanism.opening() for _ in range(count)]
    accounts.insert_charge(connection, sealed, day=day, kind="opening", events=events, now=now)
    return sealed, offset


def opening_needed(account: accounts.Account | None, mechanism: ReleaseNoise, keys: OffsetKeys) -> EventCounts:
    """What the next release of an account has to pay for an offset first; empty when it has one, or needs none.

    Args:
        account: The account; None before its first charge.
        mechanism: Its noise.
        keys: The key files.
    """
    has_offset = account is not None and keys.can_open(account)
    return () if has_offset else mechanism.opening()


def destroy_closed_offsets(workspace: Workspace) -> int:
    """Destroys the keys of all offsets whose time is over, and those that no account uses; how many.

    Depends on the calendar and on which months were opened when, both public.

    Args:
        workspace: The open data folder.

    Raises:
        StorageError: A key cannot be removed.
    """
    if not closed_offsets(workspace):
        return 0
    today = workspace.today()
    with workspace.ledger.write() as connection:  # so that no release can be making a key now
        closed = _closed(connection, today=today, workspace=workspace)
        offset_keys(workspace).destroy(closed)
    return len(closed)


def closed_offsets(workspace: Workspace) -> set[int]:
    """Accounts whose key is still there and must be destroyed; public."""
    if not offset_keys(workspace).kept():
        return set()
    today = workspace.today()
    with workspace.ledger.read() as connection:
        return _closed(connection, today=today, workspace=workspace)


def _closed(connection: Connection, *, today: date, workspace: Workspace) -> set[int]:
    kept = offset_keys(workspace).kept()
    living = {
        opening.account
        for opening in last_openings(connection, kept)
        if today <= last_day_of_offset(opening.period, opening.charged_at.astimezone(workspace.settings.zone).date())
    }
    return kept - living


def last_day_of_offset(period: str, opened: date) -> date:
    """The last day on which an offset may be used.

    Args:
        period: Its month, `YYYY-MM`.
        opened: The day in TIMEZONE on which it was charged: later for a release made long after the month.
    """
    closes = days_of_period(period).last + timedelta(days=OFFSET_LIFE_DAYS)
    return closes if opened <= closes else opened + timedelta(days=OFFSET_LIFE_DAYS)
