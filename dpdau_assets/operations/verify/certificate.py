"""The certificate of one erasure request: dated, for a contiguous range of days, without an identifier or a count.

Belongs here: when a certificate may be given and what it says. Does not belong here: looking (`verify`), expiry of
backups (`verify.backups`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from dpdau_assets.core.quantities import EARLIEST_DAY
from dpdau_assets.errors import DataError, InputError
from dpdau_assets.operations.session.progress import Progress, no_progress
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.operations.verify.backups import last_expiry
from dpdau_assets.operations.verify.findings import NoteKind, Verification
from dpdau_assets.operations.verify.verify import verify
from dpdau_assets.storage.disk.durable import make_durable, write_bytes
from dpdau_assets.storage.disk.os_errors import make_folder
from dpdau_assets.storage.ledger import erasures
from dpdau_assets.storage.ledger.erasures import ErasureRequest

COVERED = (
    "staged files, raw events, live users, daily sketches and unions of every day held",
    "temporary and spill files, quarantine reports, exports, the catalogue and every other file of the data folder",
    "every page of the ledger outside its table of tombstones, free pages included, and its write-ahead log",
    "the journal, Dagster's home, and every backup made after the request was complete",
)
NOT_COVERED = (
    "copies of files that were made outside this system",
    "values published before: they are final, and their noise hides whether any one user was counted",
    "the tombstone, which keeps late data, rebuilds and restores from bringing the user back",
)


@dataclass(frozen=True, slots=True)
class Certificate:
    """What is certified (to be handed out: no identifier, no count, no day on which somebody was active).

    Attributes:
        request: Name of the request: random, tells nothing about its users.
        certified_at: UTC ISO time.
        first_day: First day covered.
        last_day: Last day covered: the request's own.
        requested_at: UTC ISO time.
        completed_at: UTC ISO time.
        last_backup_expires_at: When the last backup that may hold the data expires; None when there is none.
        covered: Where was looked.
        not_covered: What the certificate says nothing about.
        path: Where it was written, relative to DATA_DIR.
    """

    request: str
    certified_at: str
    first_day: str
    last_day: str
    requested_at: str
    completed_at: str
    last_backup_expires_at: str | None
    covered: tuple[str, ...]
    not_covered: tuple[str, ...]
    path: str

    def to_json(self) -> dict[str, Any]:
        """The certificate as one JSON document."""
        return asdict(self)

    def text(self) -> str:
        """The certificate as it is written to its file."""
        backups = self.last_backup_expires_at or "none: no backup was made before the request was complete"
        lines = [
            "# Certificate of erasure",
            "",
            f"Request: {self.request}",
            f"Date of this certificate: {self.certified_at}",
            f"Days covered: {self.first_day} to {self.last_day}, without a gap",
            f"Requested at: {self.requested_at}",
            f"Complete at: {self.completed_at}",
            f"Last backup that may hold the data expires: {backups}",
            "",
            "On the date above the whole data folder was verified. For the days covered, no pseudonym of the users of",
            "this request was found in:",
            "",
            *(f"- {place}" for place in self.covered),
            "",
            "Counts made after the request was complete were made without these users. Not covered:",
            "",
            *(f"- {place}" for place in self.not_covered),
        ]
        return "\n".join(lines)


def certify(workspace: Workspace, request: str, *, progress: Progress = no_progress) -> Certificate:
    """Verifies the whole data folder and certifies that the users of a request are gone from it.

    Guarantee: given only when the request is complete, nothing at all was found, and nobody was writing files in
    waiting; it is written to reports/certificates/<request>.md before this returns.

    Args:
        workspace: The open data folder.
        request: Name of the request.
        progress: Shows how far the verification is.

    Raises:
        InputError: There is no such request.
        DataError: It is not complete, or the verification found something.
        StorageError: The disk refused.
    """
    known = _complete_request(workspace, request)
    found = verify(workspace, progress=progress)
    _refuse(found)
    with workspace.ledger.read() as connection:
        first = _first_day(connection, known.through_day)
    place = workspace.lake.certificate_path(known.request)
    notes = tuple(note.line for note in found.notes if note.kind is not NoteKind.OVERFILLED)
    certificate = Certificate(
        request=known.request,
        certified_at=workspace.now().isoformat(timespec="seconds"),
        first_day=first.isoformat(),
        last_day=known.through_day.isoformat(),
        requested_at=known.requested_at,
        completed_at=str(known.completed_at),
        last_backup_expires_at=last_expiry(workspace, known),
        covered=COVERED,
        not_covered=(*NOT_COVERED, *notes),
        path=str(place.relative_to(workspace.lake.root)),
    )
    _write(place, certificate)
    return certificate


def _complete_request(workspace: Workspace, name: str) -> ErasureRequest:
    with workspace.ledger.read() as connection:
        known = erasures.find(connection, name)
    if known is None:
        raise InputError(
            "there is no erasure request of that name", hint="`dpdau erasures` lists the requests with their names"
        )
    if known.completed_at is None:
        raise DataError(
            f"erasure request {known.request} is not complete yet", hint="run `dpdau flush-deletes`, then ask again"
        )
    return known


def _refuse(found: Verification) -> None:
    """Refuses a certificate over a folder that is not clean."""
    if not found.ok:
        number = len(found.findings)
        raise DataError(
            f"no certificate: the verification has {number} finding{'s' if number > 1 else ''}, first: "
            f"{found.findings[0].place}: {found.findings[0].message}",
            hint=f"run `dpdau verify` and repair them; the first: {found.findings[0].repair}",
        )
    if any(note.kind is NoteKind.AT_WORK for note in found.notes):
        raise DataError("no certificate: an operation is writing files", hint="wait until it has ended, then ask again")


def _first_day(connection: Connection, last: date) -> date:
    """The first day that the request's tombstones cover."""
    return min(erasures.tombstone_floor(connection) or EARLIEST_DAY, last)


def _write(path: Path, certificate: Certificate) -> None:
    make_folder(path.parent)
    write_bytes(path, f"{certificate.text()}\n".encode())
    make_durable([path])
