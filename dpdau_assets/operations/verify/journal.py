"""Verifying the journal: a chain without a gap, equal copies, and the same rows as the ledger.

Belongs here: what a restore would rely on. Does not belong here: restoring, the form of a line (`journal.lines`), caps
(`verify.ledger`). Lines that are missing are harmless while a copy of the ledger holds what they said: a restore starts
from it. Rows that are older than the first line, or than the last such gap, are not compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, select

from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.operations.verify.file_scan import holds_any
from dpdau_assets.operations.verify.findings import (
    BACKUP,
    RESTORE,
    Repair,
    Report,
    backup_then_removal_of,
    copy_of,
    removal_of,
)
from dpdau_assets.storage.backups import backups
from dpdau_assets.storage.journal.journal import anchor_of
from dpdau_assets.storage.journal.lines import START, Anchor, Gap, Line, Lines, files_in, lines_of, read
from dpdau_assets.storage.ledger import schema
from dpdau_assets.storage.ledger.ledger import get_meta
from dpdau_assets.storage.scan.byte_search import KeySearch

JOURNAL = "the journal"
TABLES = {
    "account": schema.accounts,
    "charge": schema.charges,
    "release": schema.releases,
    "reset": schema.resets,
    "erasure": schema.erasure_requests,
}
"""Kinds of entries whose rows never change, with their tables."""
ELSEWHERE = ("note", "opened", "tombstones", "reach", "sealed_offset", "completed_at")
"""Members of entries that are no column of their row, or change in it."""
Rows = dict[str, dict[Any, Mapping[str, Any]]]
"""Rows by kind of entry and primary key."""


def verify_journal(workspace: Workspace, search: KeySearch, report: Report) -> None:
    """Reports gaps, copies that differ, and rows on which journal and ledger disagree.

    Args:
        workspace: The open data folder.
        search: All pseudonyms of complete requests, which the journal must not hold in clear.
        report: Takes the findings.

    Raises:
        StorageError: A file cannot be read.
    """
    folder, mirror = workspace.lake.journal_folder, workspace.settings.journal_mirror
    _search_files(folder, mirror, search, report)
    _verify_copies(folder, mirror, report)
    with workspace.ledger.read() as connection:
        anchor, ledger_id = anchor_of(connection), get_meta(connection, "ledger_id") or ""
        rows = _ledger_rows(connection)
    if anchor == Anchor():
        return  # a ledger of before the journal that nobody has written to since
    found = read(folder, mirror)
    lines, copied = _upto(found, anchor), _copied_upto(workspace)
    if lines is None:
        if copied < anchor.seq:
            report.find(
                "journal", JOURNAL, "it does not hold the last transaction of the ledger", repair=BACKUP
            )  # a restore then starts from that copy
        return
    is_complete = _verify_chain(found, lines, ledger_id, report, copied=copied)
    since = _since_gap(found, lines, copied=copied)
    is_all = is_complete and any(entry["note"] == "created" for entry in since[0].document()["notes"])
    _compare(_journal_rows(since), rows, report, is_complete=is_complete, is_all=is_all)


def _search_files(folder: Path, mirror: Path | None, search: KeySearch, report: Report) -> None:
    """Reports files that hold a pseudonym in clear, and files of the first copy's folder that are no journal."""
    own = [*files_in(folder), *(files_in(mirror) if mirror else [])]
    others = [path for path in sorted(folder.rglob("*")) if path.is_file() and path not in own]
    for path in (*own, *others):
        is_journal = path in own
        place = f"{path.parent.name}/{path.name}"
        if holds_any(search, path):
            message = "holds the pseudonym of an erased user in clear"
            repair = backup_then_removal_of(path) if is_journal else removal_of(path)
            report.find("erased", place, message, repair=repair)
        elif not is_journal:
            report.find("unknown", place, "this is no file of the journal", repair=removal_of(path))


def _verify_copies(folder: Path, mirror: Path | None, report: Report) -> None:
    """Both copies hold the same bytes, but for an end that the next transaction brings up."""
    if mirror is None:
        return
    for name in sorted({path.name for path in (*files_in(folder), *files_in(mirror))}):
        pair = [path.read_bytes() if path.exists() else b"" for path in (folder / name, mirror / name)]
        shorter = min(map(len, pair))
        if pair[0][:shorter] != pair[1][:shorter]:
            report.find(
                "journal",
                f"{JOURNAL}'s {name}",
                "the two copies differ; the better of each line counts",
                repair=_sync_repair(folder / name, mirror / name),
            )
        elif len(pair[0]) != len(pair[1]):
            report.wait(f"one copy of {JOURNAL} is behind the other: the next transaction brings it up")


def _sync_repair(first: Path, second: Path) -> Repair:
    """What makes two copies of one file the same: the one with more whole lines goes over the other."""
    lines = {path: {line.digest for line in lines_of(path)} for path in (first, second)}
    better, worse = (first, second) if lines[first] >= lines[second] else (second, first)
    if lines[better] >= lines[worse]:
        return copy_of(better, worse)
    return backup_then_removal_of(first, second)


def _upto(found: Lines, anchor: Anchor) -> list[Line] | None:
    """The lines up to the ledger's last one; None when that is not in the chain."""
    for position, line in enumerate(found.lines):
        if line.digest == anchor.digest:
            return list(found.lines[: position + 1])
    return None


def _verify_chain(found: Lines, lines: list[Line], ledger_id: str, report: Report, *, copied: int) -> bool:
    """No line is missing between the first that is kept and the ledger's last, and all are of this ledger.

    A gap that a restore found and noted is accounted for: its days waited to be charged. So is one right before the
    line of a restore: what is missing there was in the copy that it started from, or was noted as a gap. So is one that
    a copy of the ledger is newer than.

    Returns:
        Whether nothing that no copy holds is missing.
    """
    of_other_ledgers = sorted({line.path for line in found.lines if line.ledger != ledger_id})
    if of_other_ledgers:
        repair = backup_then_removal_of(*of_other_ledgers)
        report.find("journal", JOURNAL, "it holds lines of another ledger", repair=repair)
    first, last = lines[0].seq, lines[-1].seq
    restores = [(line, entry) for line in lines for entry in line.document()["notes"] if entry["note"] == "restored"]
    known_gaps = {gap[0] for _, entry in restores for gap in entry["gaps"]}
    known_gaps |= {max((one.seq for one in lines if one.seq < line.seq), default=0) for line, _ in restores}
    ends = [_end_of(gap, lines) for gap in found.gaps if first <= gap.after < last and gap.after not in known_gaps]
    is_cut = lines[0].previous != START and copied < first - 1
    is_complete = not is_cut and all(copied >= end - 1 for end in ends)
    if not is_complete:
        report.find("journal", JOURNAL, "lines are missing from its chain", repair=BACKUP)
    return is_complete


def _end_of(gap: Gap, lines: Sequence[Line]) -> int:
    """The first line after a gap, which is not the last of the chain."""
    return min(line.seq for line in lines if line.seq > gap.after)


def _since_gap(found: Lines, lines: list[Line], *, copied: int) -> list[Line]:
    """The lines after the last gap that a copy of the ledger makes harmless: what it swallowed is in no line."""
    ends = [_end_of(gap, lines) for gap in found.gaps if gap.after < lines[-1].seq]
    start = max((end for end in ends if copied >= end - 1), default=0)
    return [line for line in lines if line.seq >= start]


def _copied_upto(workspace: Workspace) -> int:
    """The last line of the journal that a copy of the ledger holds; 0 without any."""
    copies = backups.known(workspace.lake.backups)
    return max((one.manifest.journal_seq for one in copies if not one.is_lake and one.path.exists()), default=0)


def _ledger_rows(connection: Connection) -> Rows:
    """The rows of the ledger that the journal records, by the journal's spelling."""
    return {
        kind: {_key(table, row._mapping): _plain(row._mapping) for row in connection.execute(select(table))}
        for kind, table in TABLES.items()
    }


def _journal_rows(lines: Iterable[Line]) -> Rows:
    """The rows that the lines record."""
    rows: Rows = {kind: {} for kind in TABLES}
    for line in lines:
        for entry in line.document()["notes"]:
            table = TABLES.get(entry["note"])
            if table is not None:
                rows[entry["note"]][_key(table, entry)] = _plain(entry)
            if "opened" in entry:  # a charge holds its whole account, whose own line may be lost
                rows["account"].setdefault(_key(schema.accounts, entry["opened"]), _plain(entry["opened"]))
    return rows


def _key(table: Table, row: Mapping[Any, Any]) -> Any:
    return tuple(row[column.name] for column in table.primary_key.columns)


def _plain(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        str(name): value.isoformat() if isinstance(value, date) else value
        for name, value in row.items()
        if name not in ELSEWHERE
    }


def _compare(journal_rows: Rows, stored: Rows, report: Report, *, is_complete: bool, is_all: bool) -> None:
    """Reports rows that are in only one of journal and ledger, from the first recorded row on, or that differ.

    Where the lines go back to the ledger's creation (`is_all`), every row of the ledger must be recorded.
    """
    for kind, rows in journal_rows.items():
        first = min(rows, default=None)
        is_since = {key: is_all or (first is not None and key >= first) for key in stored[kind]}
        held = {key: row for key, row in stored[kind].items() if is_since[key]}
        place = f"{TABLES[kind].name.replace('_', ' ')} in ledger and journal"
        if set(rows) - set(held):
            report.find("journal", place, "the ledger lacks a row that the journal holds", repair=RESTORE)
        if set(held) - set(rows):
            repair = RESTORE if is_complete else BACKUP  # nothing is in the ledger that was not in the journal before
            report.find("journal", place, "the journal lacks a row that the ledger holds", repair=repair)
        if any(held[key] != row for key, row in rows.items() if key in held):
            report.find("journal", place, "a row differs between the two", repair=RESTORE)
