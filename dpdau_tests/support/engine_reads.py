"""Reads sources through the engine, and the same rows one by one through `core`, to compare the two."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq

from dpdau_assets.core.activity import ColumnMapping
from dpdau_assets.core.hashing import EpochCalendar, user_key
from dpdau_assets.core.quantities import EARLIEST_DAY
from dpdau_assets.engines.choose import stage_engine
from dpdau_assets.engines.protocol import DayKeys, IngestErasureFilter, Pseudonymiser, RowCounts, RowLimits
from dpdau_assets.engines.sources.source import open_source
from dpdau_assets.errors import InputError
from dpdau_tests.support.row_rules import parse_day, reason_against

TODAY = date(2026, 6, 1)
WINDOW_DAYS = 30
UTC = ZoneInfo("UTC")

Row = tuple[Any, Any, str | None]
"""User, time, op."""


def key_of(epoch: int) -> bytes:
    """A key per epoch; keys with and without the digit 6 occur."""
    return hashlib.sha256(f"tests {epoch}".encode()).hexdigest().encode()


@dataclass
class Result:
    """What came out of a source."""

    keys: dict[tuple[date, int], list[int]] = field(default_factory=dict)
    erased: dict[int, dict[int, date]] = field(default_factory=dict)
    counts: RowCounts | None = None
    pushes: int = 0


def engine_read(
    path: Path,
    *,
    zone: tzinfo = UTC,
    mapping: ColumnMapping | None = None,
    source_format: str | None = None,
    oldest_day: date = EARLIEST_DAY,
    rotation_days: int = 90,
    memory_limit: str = "1GB",
    first_erased_epoch: int | None = None,
    name: str = "duckdb",
    keys_of: Callable[[int], bytes] = key_of,
    erasure_filter: IngestErasureFilter | None = None,
) -> Result:
    """The whole source through the engine of this name; every pushed array is checked to be sorted and unique."""
    result = Result()
    calendar = EpochCalendar.every(rotation_days)

    def sink(one: DayKeys) -> None:
        keys = one.keys.tolist()
        assert keys == sorted(set(keys)) != []
        known = result.keys.setdefault((one.day, one.epoch), [])
        assert not set(known) & set(keys)
        known.extend(keys)
        result.pushes += 1

    source = open_source(path, mapping or ColumnMapping(), source_format=source_format)
    limits = RowLimits(zone, TODAY, oldest_day)
    pseudonymiser = Pseudonymiser(calendar, WINDOW_DAYS, keys_of, erasure_filter)
    with stage_engine(name, memory_limit=memory_limit, threads=2).read(
        source, pseudonymiser, limits=limits, sink=sink, progress=lambda done, total: None
    ) as reading:
        result.counts = reading.counts
        if first_erased_epoch is not None:
            epochs = range(first_erased_epoch, calendar.epoch_of(TODAY) + 2)
            for one in reading.erased_keys(epochs, of_everybody=-1):
                days = [date.fromisoformat(str(day)) for day in one.through_days]
                assert one.keys.tolist() == sorted(set(one.keys.tolist()))
                result.erased[one.epoch] = dict(zip(one.keys.tolist(), days, strict=True))
    for keys in result.keys.values():
        keys.sort()
    return result


def naive_read(rows: Iterable[Row], *, zone: tzinfo = UTC, rotation_days: int = 90) -> tuple[Result, Counter[str]]:
    """The same from rows, one by one, by the rules of `core`."""
    calendar = EpochCalendar.every(rotation_days)
    keys: dict[tuple[date, int], set[int]] = defaultdict(set)
    rejected: Counter[str] = Counter()
    for user, time, op in rows:
        user_id = None if user is None else user if isinstance(user, bytes) else str(user).encode()
        day = naive_day(time, zone=zone)
        reason = reason_against(user_id, day, op=op, today=TODAY)
        if reason is not None:
            rejected[reason] += 1
        elif op != "-":
            assert day is not None and user_id is not None
            for epoch in calendar.keyed_epochs(day, WINDOW_DAYS):
                keys[day, epoch].add(user_key(key_of(epoch), user_id))
    return Result(keys={item: sorted(some) for item, some in keys.items()}), rejected


def naive_day(time: Any, *, zone: tzinfo) -> date | None:
    """The day of a time, None where `core` refuses it."""
    if time is None:
        return None
    if isinstance(time, date):
        return time
    try:
        return parse_day(time, zone=zone)
    except InputError:
        return None


def write_jsonl(path: Path, rows: Sequence[Row], *, time_name: str = "ts") -> Path:
    """One JSON object a line; missing ops are left out."""
    lines = []
    for user, time, op in rows:
        document = {"user_id": user, time_name: str(time) if isinstance(time, date) else time, "other": {"x": [1]}}
        if op is not None:
            document["op"] = op
        lines.append(json.dumps(document, ensure_ascii=len(lines) % 2 == 0))
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def write_csv(path: Path, rows: Sequence[Row], *, time_name: str = "ts") -> Path:
    """A header and one record a row, quoted where needed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["other", "user_id", time_name, "op"])
    for user, time, op in rows:
        writer.writerow(["x", "" if user is None else user, "" if time is None else time, "" if op is None else op])
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    return path


def write_parquet(path: Path, columns: dict[str, pa.Array]) -> Path:
    """A Parquet file of some columns, in small row groups."""
    pq.write_table(pa.table(columns), path, row_group_size=1000)
    return path
