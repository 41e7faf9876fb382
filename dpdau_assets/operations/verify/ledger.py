"""Verifying the ledger's own rows: whole, consistent with each other, within every cap.

Belongs here: what can be told from the ledger alone. Does not belong here: files (`verify.lake`), raw pages
(`other_places`), the journal and backups (`verify.backups`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date
from functools import partial

from sqlalchemy import Connection, select

from dpdau_assets.core.accounting.snapshot import fits
from dpdau_assets.core.dp_events import NO_EVENTS, EventCounts
from dpdau_assets.core.quantities import DayRange, period_of
from dpdau_assets.operations.budget.lost_releases import unaccounted
from dpdau_assets.operations.budget.trailing_loss import TrailingLoss
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.operations.verify.findings import (
    APPLY_RETENTION,
    RESTORE,
    SALTS,
    Action,
    Note,
    NoteKind,
    Repair,
    Report,
    day_range_text,
    rebuild_of,
)
from dpdau_assets.settings.settings import Settings
from dpdau_assets.storage.ledger import accounts as budget
from dpdau_assets.storage.ledger import batches, erasures, partitions, salt_facts
from dpdau_assets.storage.ledger.accounts import Account
from dpdau_assets.storage.ledger.schema import accounts, charges, releases
from dpdau_assets.storage.ledger.schema import partitions as partition_rows
from dpdau_assets.storage.ledger.shared_noise_charges import shared_noise_charges_between

LEDGER = "the ledger"
OVERFILLED = (
    "above its cap by values that were charged as lost (`dpdau restore --assume-released`); no more is released"
)
"""Note of a cap that only such charges exceed."""
DRAWN = tuple(kind for kind in budget.CHARGE_KINDS if kind != "assumed")
"""Charges for what was drawn, and not only assumed to have been."""
DRAWN_KINDS = ("release", "revision")
"""Charges that pay for a published value each."""


def verify_ledger(workspace: Workspace, report: Report, *, is_full: bool) -> None:
    """Reports what is wrong in the ledger's rows.

    Args:
        workspace: The open data folder.
        report: Takes the findings.
        is_full: Whether every page and index is checked, or only their structure.

    Raises:
        StorageError: The ledger cannot be read.
    """
    with workspace.ledger.read() as connection:
        _verify_structure(connection, report, is_full=is_full)
        _verify_partition_rows(workspace, connection, report)
        _verify_erasures(connection, report)
        _verify_charges(connection, report)
        _verify_caps(workspace.settings, connection, report)
        for days in unaccounted(connection):
            report.wait(
                f"values of {day_range_text(days)} may be lost and are not released: dpdau restore --assume-released "
                f"{day_range_text(days)} --reason TEXT"
            )


def _verify_structure(connection: Connection, report: Report, *, is_full: bool) -> None:
    """SQLite's own checks; its words may quote values and are not passed on."""
    pragma = "integrity_check" if is_full else "quick_check"
    if connection.exec_driver_sql(f"PRAGMA {pragma}(1)").scalar() != "ok":
        report.find("ledger", LEDGER, "SQLite finds the file damaged", repair=RESTORE)
    if connection.exec_driver_sql("PRAGMA foreign_key_check").first() is not None:
        report.find("ledger", LEDGER, "a row refers to a row that does not exist", repair=RESTORE)


def _verify_partition_rows(workspace: Workspace, connection: Connection, report: Report) -> None:
    """The rows of partitions agree with themselves, with the erasures applied, and with the calendar of epochs."""
    calendar, length = workspace.salts.calendar, workspace.settings.mau_window_days
    lowest, is_wrong, is_wrongly_keyed = None, False, False
    days: set[date] = set()
    for row in connection.execute(select(partition_rows)):
        days.add(row.day)
        is_wrong = is_wrong or row.digest != partitions.digest_of(row.files)
        lowest = row.applied_erasure_seq if lowest is None else min(lowest, row.applied_erasure_seq)
        keyed = calendar.keyed_epochs(row.day, length)
        is_wrongly_keyed = is_wrongly_keyed or any(name.isdigit() and int(name) not in keyed for name in row.files)
    if is_wrong:
        report.find("ledger", "the ledger's partitions", "a row's digest is not that of its files", repair=RESTORE)
    if is_wrongly_keyed:
        report.find(
            "salts",
            SALTS,
            "a partition is keyed under an epoch that its day does not have",
            repair=Repair(Action.REPAIR_SALTS, "dpdau salts import FILE, with the newest export of this data folder"),
        )
    floor = salt_facts.retention_floor(connection)
    if any(day < floor for day in (*days, *batches.staged_days(connection))):
        report.find(
            "ledger",
            "the ledger's partitions",
            "a day that retention has dropped is held again: whoever was erased there is not known any more",
            repair=APPLY_RETENTION,
        )
    done = [request.seq for request in erasures.history(connection) if request.completed_at is not None]
    if lowest is not None and done and max(done) > lowest:
        report.find(
            "ledger",
            "the ledger's erasure requests",
            "a request is complete although a partition has not applied it",
            repair=rebuild_of(DayRange(min(days), max(days))),
        )


def _verify_erasures(connection: Connection, report: Report) -> None:
    """A tombstone names its request exactly while it is pending, and pending tombstones have a pending request."""
    waiting = [request.seq for request in erasures.pending(connection)]
    if waiting:
        report.wait("erasure requests wait to be applied: dpdau flush-deletes")
    query = "SELECT 1 FROM erasure_log WHERE pending <> (seq IS NOT NULL) LIMIT 1"
    is_torn = connection.exec_driver_sql(query).first() is not None
    known = "SELECT seq FROM erasure_requests WHERE completed_at IS NULL"
    linked = f"SELECT 1 FROM erasure_log WHERE seq IS NOT NULL AND seq NOT IN ({known}) LIMIT 1"
    if is_torn or connection.exec_driver_sql(linked).first() is not None:
        report.find(
            "ledger", "the ledger's tombstones", "a tombstone still names a request that is complete", repair=RESTORE
        )


def _verify_charges(connection: Connection, report: Report) -> None:
    """Every value was charged, every charge for a value has its value, and both are of one account's metric and day."""
    columns = (charges.c.charge, charges.c.metric, charges.c.period, charges.c.day, charges.c.kind, charges.c.account)
    paid = {row.charge: row for row in connection.execute(select(*columns))}
    owners = {row.account: row for row in connection.execute(select(accounts))}
    drawn = list(connection.execute(select(releases.c.charge, releases.c.metric, releases.c.day)))
    for row in paid.values():
        owner = owners.get(row.account)
        fits_owner = owner is not None and (owner.metric, owner.period) == (row.metric, row.period)
        if not fits_owner or (row.kind != "opening" and period_of(row.day) != row.period):
            _mismatch(report, row.period, "a charge does not belong to its account's metric and month")
    for value in drawn:
        charge = paid.get(value.charge)
        is_paid = charge is not None and charge.kind in DRAWN_KINDS and charge.day == value.day
        if not is_paid or (charge is not None and charge.metric not in (value.metric, "joint")):
            _mismatch(report, period_of(value.day), "a released value has no charge of its own")
    with_value = {value.charge for value in drawn}
    for row in paid.values():
        if row.kind in DRAWN_KINDS and row.charge not in with_value:
            _mismatch(report, row.period, "a charge for a released value has no value")


def _mismatch(report: Report, period: str, message: str) -> None:
    report.find("ledger", f"charges and releases of {period}", message, repair=RESTORE)


def _verify_caps(settings: Settings, connection: Connection, report: Report) -> None:
    """What every account, month and year was charged composes to at most the cap frozen at its opening.

    Guarantee: no false alarm after a change of settings: each cap is compared at the terms of its charges. What exceeds
    a cap only by values that were charged as lost is no fault of this folder's, and a note.
    """
    opened = [Account(**row._mapping) for row in connection.execute(select(accounts).order_by(accounts.c.account))]
    months: dict[str, list[Account]] = {}

    def check(place: str, cap: float, delta: float, events: Callable[..., EventCounts]) -> None:
        if not fits(events(), cap, delta=delta, **settings.accounting):
            _above(report, place, is_drawn=not fits(events(kinds=DRAWN), cap, delta=delta, **settings.accounting))

    for account in opened:
        months.setdefault(account.period, []).append(account)
        events = partial(budget.events_of_account, connection, account)
        check(f"the {account.metric} account of {account.period}", account.epsilon_cap, account.delta, events)
    for period, held in sorted(months.items()):
        cap, delta = min(one.month_cap for one in held), min(one.delta for one in held)
        check(f"all metrics in {period}", cap, delta, partial(budget.events_of_period, connection, period))
    if opened and not _fit_years(settings, connection, opened, kinds=budget.CHARGE_KINDS):
        is_drawn = not _fit_years(settings, connection, opened, kinds=DRAWN)
        _above(report, "all metrics over 365 days", is_drawn=is_drawn)


def _fit_years(settings: Settings, connection: Connection, opened: list[Account], *, kinds: Iterable[str]) -> bool:
    """Whether every 365 days that end on a charged day stay within the largest cap frozen by a month in them."""
    daily = budget.daily_events(connection, date.min, date.max, kinds=kinds)
    delta, cap = max(account.delta for account in opened), max(account.year_cap for account in opened)
    shared_noise_charges = shared_noise_charges_between(connection, date.min, date.max, kinds=kinds)
    trailing = TrailingLoss(daily, orders=settings.rdp_orders, delta=delta, shared_noise_charges=shared_noise_charges)
    return all(trailing.fits(day, NO_EVENTS, cap=cap) for day in daily)


def _above(report: Report, place: str, *, is_drawn: bool) -> None:
    """Reports a cap that is exceeded; by values that were drawn, or only by such as may have been."""
    if not is_drawn:
        report.note(Note(NoteKind.OVERFILLED, f"{place}: {OVERFILLED}"))
        return
    report.find(
        "budget",
        place,
        "the charges compose to more than the cap that was frozen at the opening",
        repair=Repair(Action.NONE, "publish nothing more of that period; the loss is as `dpdau budget` states it"),
    )
