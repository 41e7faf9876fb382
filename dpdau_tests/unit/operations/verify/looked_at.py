"""What one check reports of a data folder, when it is asked alone."""

from __future__ import annotations

from collections.abc import Callable

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.operations.verify.findings import AppliedErasures, Report
from dpdau_assets.operations.verify.lake import KnownFiles
from dpdau_assets.storage.lake.layout import ASSETS
from dpdau_assets.storage.ledger import batches, partitions

Places = set[tuple[str, str]]


def known_files(workspace: Workspace, days: DayRange) -> tuple[KnownFiles, AppliedErasures]:
    """What the ledger names, to be looked at on some days, and what must be gone."""
    with workspace.ledger.read() as connection:
        rows = partitions.load(connection, ASSETS)
        staged = batches.staged_between(connection)
        erased = AppliedErasures.read(connection, levels={row.applied_erasure_seq for row in rows.values()})
    return KnownFiles(rows, staged, days), erased


def places_in_lake(
    workspace: Workspace, check: Callable[[Workspace, KnownFiles, AppliedErasures, Report], None], days: DayRange
) -> Places:
    """Kind and place of what a check of the lake finds."""
    report = Report()
    with workspace.lake.lock():
        check(workspace, *known_files(workspace, days), report)
    return {(finding.kind, finding.place) for finding in report.finish().findings}


def places(check: Callable[[Report], None]) -> Places:
    """Kind and place of what a check finds."""
    report = Report()
    check(report)
    return {(finding.kind, finding.place) for finding in report.finish().findings}
