"""Verifying the journal: a chain without a gap, equal copies, and the same rows as the ledger.

Belongs here: what a restore would rely on. Does not belong here: restoring, the form of a line (`journal_lines`), caps
(`verify_ledger`). Rows that are older than the journal's first line are not compared: a snapshot holds them.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, select

from dpdau_assets.operations.file_scan import holds_any
from dpdau_assets.operations.verification import Report
from dpdau_assets.operations.workspace import Workspace
from dpdau_assets.storage import backups, schema
from dpdau_assets.storage.byte_search import KeySearch
from dpdau_assets.storage.journal import anchor_of
from dpdau_assets.storage.journal_lines import START, Anchor, Line, Lines, files_in, read
from dpdau_assets.storage.ledger import get_meta

JOURNAL = "the journal"
BACKUP = "dpdau backup, from which a restore then starts"
RESTORE = "dpdau restore"
TABLES = {
    "account": schema.accounts,
    "charge": schema.charges,
    "release": schema.releases,
    "reset": schema.resets,
    "erasure": schema.erasure_requests,
}
"""Notes that are rows which never change, with their tables."""
ELSEWHERE = ("note", "opened", "tombstones", "reach", "sealed_offset", "completed_at")
"""Members of notes that are no column of their row, or change in it."""
Rows = dict[str, dict[Any, Mapping[str, Any]]]
"""Rows by kind of note and primary key."""


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
    for path in (*files_in(folder), *(files_in(mirror) if mirror else [])):
        if holds_any(search, path):
            report.find(
                "erased",
                f"{path.parent.name}/{path.name}",
                "holds the pseudonym of an erased user in clear",
                repair=f"dpdau backup, then rm {shlex.quote(str(path))}",
            )
    _verify_copies(folder, mirror, report)
    with workspace.ledger.read() as connection:
        anchor, ledger_id = anchor_of(connection), get_meta(connection, "ledger_id") or ""
        rows = _ledger_rows(connection)
    if anchor == Anchor():
        return  # a ledger of before the journal that nobody has written to since
    found = read(folder, mirror)
    lines = _upto(found, anchor)
    if lines is None:
        report.find("journal", JOURNAL, "it does not hold the last transaction of the ledger", repair=BACKUP)
        return
    _verify_chain(workspace, found, lines, ledger_id, report)
    _compare(_journal_rows(lines), rows, report)


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
                repair="dpdau backup, then copy the whole file over the damaged one",
            )
        elif len(pair[0]) != len(pair[1]):
            report.wait(f"one copy of {JOURNAL} is behind the other: the next transaction brings it up")


def _upto(found: Lines, anchor: Anchor) -> list[Line] | None:
    """The lines up to the ledger's last one; None when that is not in the chain."""
    for position, line in enumerate(found.lines):
        if line.digest == anchor.digest:
            return list(found.lines[: position + 1])
    return None


def _verify_chain(workspace: Workspace, found: Lines, lines: list[Line], ledger_id: str, report: Report) -> None:
    """No line is missing between the first that is kept and the ledger's last, and all are of this ledger.

    A gap that a restore found and noted is accounted for: its days waited to be charged. So is one right before the
    line of a restore: what is missing there was in the copy that it started from, or was noted as a gap.
    """
    if any(line.ledger != ledger_id for line in found.lines):
        report.find("journal", JOURNAL, "it holds lines of another ledger", repair=BACKUP)
    first, last = lines[0].seq, lines[-1].seq
    restores = [(line, note) for line in lines for note in line.document()["notes"] if note["note"] == "restored"]
    noted = {gap[0] for _, note in restores for gap in note["gaps"]}
    noted |= {max((one.seq for one in lines if one.seq < line.seq), default=0) for line, _ in restores}
    inner = [gap for gap in found.gaps if first <= gap.after < last and gap.after not in noted]
    is_cut = lines[0].previous != START and not _has_snapshot(workspace, first - 1)
    if inner or is_cut:
        report.find("journal", JOURNAL, "lines are missing from its chain", repair=BACKUP)


def _has_snapshot(workspace: Workspace, seq: int) -> bool:
    """Whether a backup of the ledger makes the lines up to `seq` dispensable."""
    copies = backups.known(workspace.lake.backups)
    return any(copy.manifest.journal_seq >= seq for copy in copies if not copy.is_lake)


def _ledger_rows(connection: Connection) -> Rows:
    """The rows of the ledger that the journal notes, by the journal's spelling."""
    return {
        kind: {_key(table, row._mapping): _plain(row._mapping) for row in connection.execute(select(table))}
        for kind, table in TABLES.items()
    }


def _journal_rows(lines: Iterable[Line]) -> Rows:
    """The rows that the lines note."""
    rows: Rows = {kind: {} for kind in TABLES}
    for line in lines:
        for note in line.document()["notes"]:
            table = TABLES.get(note["note"])
            if table is not None:
                rows[note["note"]][_key(table, note)] = _plain(note)
            if "opened" in note:  # a charge holds its whole account, whose own line may be lost
                rows["account"].setdefault(_key(schema.accounts, note["opened"]), _plain(note["opened"]))
    return rows


def _key(table: Table, row: Mapping[Any, Any]) -> Any:
    return tuple(row[column.name] for column in table.primary_key.columns)


def _plain(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        str(name): value.isoformat() if isinstance(value, date) else value
        for name, value in row.items()
        if name not in ELSEWHERE
    }


def _compare(noted: Rows, stored: Rows, report: Report) -> None:
    """Every noted row is in the ledger as it was noted, and every row since the first noted one was noted."""
    for kind, rows in noted.items():
        first = min(rows, default=None)
        held = {key: row for key, row in stored[kind].items() if first is not None and key >= first}
        place = f"{TABLES[kind].name.replace('_', ' ')} in ledger and journal"
        if set(rows) - set(held):
            report.find("journal", place, "the ledger lacks a row that the journal holds", repair=RESTORE)
        if set(held) - set(rows):
            report.find("journal", place, "the journal lacks a row that the ledger holds", repair=BACKUP)
        if any(held[key] != row for key, row in rows.items() if key in held):
            report.find("journal", place, "a row differs between the two", repair=RESTORE)
