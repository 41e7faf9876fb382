"""The seeded workloads of activity, written once as Parquet: text ids of 36 characters, a day, shuffled rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FIRST_DAY = date(2025, 3, 1)
"""60 days from here lie in two whole months, so that every release of both fits its budget."""

DAYS = 60
ACTIVE_SHARE = 0.18
DUPLICATE_SHARE = 0.30
SEED = 20251009


@dataclass(frozen=True, slots=True)
class Workload:
    """Who is active, and when.

    Attributes:
        name: Names it in reports and its file.
        users: Size of the population.
        first_day: First day with activity.
        days: Number of days with activity.
        active_share: Chance that a user is active on a day.
        duplicate_share: Rows of a day that are there again, as a share of its users.
    """

    name: str
    users: int
    first_day: date = FIRST_DAY
    days: int = DAYS
    active_share: float = ACTIVE_SHARE
    duplicate_share: float = DUPLICATE_SHARE

    @property
    def last_day(self) -> date:
        """The last day with activity."""
        return self.first_day + timedelta(days=self.days - 1)


SMALL = Workload("SMALL", 200_000)
LARGE = Workload("LARGE", 2_000_000)
YEAR = Workload("YEAR", 500_000, first_day=date(2024, 3, 1), days=365, active_share=0.12, duplicate_share=0.0)
"""Twelve whole months: every release of them fits its budget."""
YEAR_SMALL = replace(YEAR, name="YEAR-SMALL", users=20_000)


def parquet_of(workload: Workload, folder: Path, *, tell: Callable[[str], None]) -> Path:
    """The Parquet file of `workload` in `folder`, written when it is missing."""
    path = folder / f"{workload.name.lower()}-{SEED}.parquet"
    if path.is_file():
        return path
    tell(f"writing the workload {workload.name} to {path}")
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(SEED)
    ids = _text_ids(random, workload.users)
    temporary = path.with_name(f".{path.name}.part")
    schema = pa.schema([("user_id", pa.string()), ("day", pa.date32())])
    with pq.ParquetWriter(temporary, schema) as writer:
        for offset in range(workload.days):
            rows = _rows_of_a_day(random, workload)
            days = np.full(len(rows), (workload.first_day - date(1970, 1, 1)).days + offset)
            columns = [ids.take(pa.array(rows)), pa.array(days.astype(np.int32)).cast(pa.date32())]
            writer.write_table(pa.table(columns, schema=schema))
    temporary.replace(path)
    return path


def _rows_of_a_day(random: np.random.Generator, workload: Workload) -> np.ndarray:
    """User numbers of one day's rows, shuffled: each active user once and a share of them again. int64[n_rows]."""
    active = np.flatnonzero(random.random(workload.users) < workload.active_share)
    again = random.choice(active, size=round(workload.duplicate_share * len(active)))
    rows = np.concatenate([active, again])
    random.shuffle(rows)
    return rows


def ids_of(workload: Workload) -> pa.Array:
    """All user ids of `workload`, as `parquet_of` writes them."""
    return _text_ids(np.random.default_rng(SEED), workload.users)


def _text_ids(random: np.random.Generator, users: int) -> pa.Array:
    """Distinct ids written like UUIDs."""
    digits = random.bytes(16 * users).hex()
    starts = range(0, 32 * users, 32)
    return pa.array(
        [
            f"{digits[s : s + 8]}-{digits[s + 8 : s + 12]}-{digits[s + 12 : s + 16]}-{digits[s + 16 : s + 20]}"
            f"-{digits[s + 20 : s + 32]}"
            for s in starts
        ]
    )
