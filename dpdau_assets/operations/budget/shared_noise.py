"""The life of the secret offsets that correlated and joint noise share over a month.

Belongs here: opening an account's offset with its charge, using it, destroying its key. Does not belong here: the key
files (`storage.keys`), what an offset is for (`core.mechanisms.correlated`), whether it fits (`caps`).

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
from dpdau_assets.storage.keys.shared_noise_keys import SharedNoiseKeys
from dpdau_assets.storage.ledger import accounts
from dpdau_assets.storage.ledger.shared_noise_charges import last_shared_noise_charges

SHARED_NOISE_LIFE_DAYS = 35
"""Days after a month's end in which late releases and revisions still use its offset."""


def shared_noise_keys(workspace: Workspace) -> SharedNoiseKeys:
    """The key files of a data folder's accounts."""
    return SharedNoiseKeys(workspace.lake.shared_noise_keys_folder, workspace.ledger_id)


def draw_and_charge_shared_noise(
    connection: Connection,
    account: accounts.Account,
    mechanism: ReleaseNoise,
    source: NoiseSource,
    *,
    day: date,
    now: datetime,
    workspace: Workspace,
) -> tuple[accounts.Account, int]:
    """Draws the shared noise of an account, stores it sealed and charges it; the account and the noise (sensitive).

    Args:
        connection: The write transaction of the release that needs the offset.
        account: The account.
        mechanism: Its noise, which has an offset.
        source: Where the randomness comes from.
        day: The day of that release.
        now: The time.
        workspace: The open data folder.
    """
    shared_noise = mechanism.draw_shared_noise(source)
    if shared_noise is None:
        raise InternalError("independent noise has no offset to open")
    sealed = accounts.set_sealed_offset(connection, account, shared_noise_keys(workspace).seal(account, shared_noise))
    events = [event for event, count in mechanism.shared_noise_charge() for _ in range(count)]
    accounts.insert_charge(connection, sealed, day=day, kind="opening", events=events, now=now)
    return sealed, shared_noise


def shared_noise_charge_due(
    account: accounts.Account | None, mechanism: ReleaseNoise, keys: SharedNoiseKeys
) -> EventCounts:
    """What the next release of an account has to pay for an offset first; empty when it has one, or needs none.

    Args:
        account: The account; None before its first charge.
        mechanism: Its noise.
        keys: The key files.
    """
    has_shared_noise = account is not None and keys.can_open(account)
    return () if has_shared_noise else mechanism.shared_noise_charge()


def destroy_closed_shared_noise(workspace: Workspace) -> int:
    """Destroys the keys of all offsets whose time is over, and those that no account uses; how many.

    Depends on the calendar and on which months were opened when, both public.

    Args:
        workspace: The open data folder.

    Raises:
        StorageError: A key cannot be removed.
    """
    if not closed_shared_noise(workspace):
        return 0
    today = workspace.today()
    with workspace.ledger.write() as connection:  # so that no release can be making a key now
        closed = _closed(connection, today=today, workspace=workspace)
        shared_noise_keys(workspace).destroy(closed)
    return len(closed)


def closed_shared_noise(workspace: Workspace) -> set[int]:
    """Accounts whose key is still there and must be destroyed; public."""
    if not shared_noise_keys(workspace).kept():
        return set()
    today = workspace.today()
    with workspace.ledger.read() as connection:
        return _closed(connection, today=today, workspace=workspace)


def _closed(connection: Connection, *, today: date, workspace: Workspace) -> set[int]:
    kept = shared_noise_keys(workspace).kept()
    living = {
        charge.account
        for charge in last_shared_noise_charges(connection, kept)
        if today
        <= last_day_of_shared_noise(charge.period, charge.charged_at.astimezone(workspace.settings.zone).date())
    }
    return kept - living


def last_day_of_shared_noise(period: str, opened: date) -> date:
    """The last day on which an offset may be used.

    Args:
        period: Its month, `YYYY-MM`.
        opened: The day in TIMEZONE on which it was charged: later for a release made long after the month.
    """
    closes = days_of_period(period).last + timedelta(days=SHARED_NOISE_LIFE_DAYS)
    return closes if opened <= closes else opened + timedelta(days=SHARED_NOISE_LIFE_DAYS)
