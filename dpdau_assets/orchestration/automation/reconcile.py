"""Telling Dagster what was built or released without it, newest first and a bounded number a tick.

Dagster concept: runless asset events and the reconcile sensor's cursor. The ledger numbers every change of a partition
(`version`) and every charge; the cursor holds which numbers are still to be looked at.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

EVENTS_A_TICK = 100
"""At about 11 ms an event, a tick stays near a second."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """Numbers still to be looked at.

    Attributes:
        newest: The highest number ever seen.
        gaps: Pairs (above, up to), newest first, that do not touch.
    """

    newest: int = 0
    gaps: tuple[tuple[int, int], ...] = ()

    def grown_to(self, newest: int) -> Backlog:
        """With every number up to `newest` that was not known before. A smaller number than before means another
        ledger: everything is looked at again."""
        if newest < self.newest:
            return Backlog().grown_to(newest)
        if newest == self.newest:
            return self
        if self.gaps and self.gaps[0][1] == self.newest:
            return Backlog(newest, ((self.gaps[0][0], newest), *self.gaps[1:]))
        return Backlog(newest, ((self.newest, newest), *self.gaps))

    def without_newest(self, numbers: Sequence[int], *, is_all: bool) -> Backlog:
        """With the newest gap worked down to the lowest of `numbers`, or closed when those were all it held."""
        if not self.gaps:
            return self
        (above, _upto), *rest = self.gaps
        if is_all:
            return Backlog(self.newest, tuple(rest))
        return Backlog(self.newest, ((above, min(numbers) - 1), *rest))


@dataclass(frozen=True, slots=True)
class Report:
    """One materialisation to tell Dagster of, unless it knows.

    Attributes:
        key: The asset.
        partition: The day.
        at: Unix time of the work; an event at or after it says that Dagster knows.
        metadata: What Dagster shows; public numbers only.
    """

    key: dg.AssetKey
    partition: str
    at: float
    metadata: dict[str, Any]


def tell(instance: dg.DagsterInstance, reports: Iterable[Report]) -> int:
    """Records each report that Dagster does not know of; how many those were."""
    told = 0
    by_key: dict[dg.AssetKey, list[Report]] = {}
    for report in reports:
        by_key.setdefault(report.key, []).append(report)
    for key, group in by_key.items():
        known = _latest_events(instance, key, group)
        for report in group:
            if known.get(report.partition, 0.0) < report.at:
                instance.report_runless_asset_event(
                    dg.AssetMaterialization(key, partition=report.partition, metadata=report.metadata)
                )
                told += 1
    return told


def _latest_events(instance: dg.DagsterInstance, key: dg.AssetKey, reports: Sequence[Report]) -> dict[str, float]:
    """Partition to the Unix time of its newest materialisation, if it has one."""
    partitions = [report.partition for report in reports]
    latest = instance.get_latest_storage_id_by_partition(
        key, dg.DagsterEventType.ASSET_MATERIALIZATION, set(partitions)
    )
    if not latest:
        return {}
    found = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=key, storage_ids=list(latest.values())), limit=len(latest)
    )
    return {str(record.partition_key): record.timestamp for record in found.records}


def to_cursor(partitions: Backlog, releases: Backlog) -> str:
    """The cursor as text."""
    return json.dumps({name: [one.newest, one.gaps] for name, one in zip(PARTS, (partitions, releases), strict=True)})


def from_cursor(cursor: str | None) -> tuple[Backlog, Backlog]:
    """The inverse of `to_cursor`; nothing known for the first tick."""
    stored = json.loads(cursor or "{}")
    return (_backlog(stored.get(PARTS[0])), _backlog(stored.get(PARTS[1])))


PARTS = ("partitions", "releases")


def _backlog(stored: Any) -> Backlog:
    if not stored:
        return Backlog()
    newest, gaps = stored
    return Backlog(newest, tuple((above, upto) for above, upto in gaps))
