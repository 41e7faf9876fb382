"""The plain query we compare with: DuckDB over the raw text ids, one bit per day per user, exact and not private.

Run as a process of its own (`python -m` this module, FILE FIRST_DAY DAYS) it prints one JSON document: the seconds
from opening the file to the last number, and DAU and MAU of every day.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import date
from typing import Any

MAU_DAYS = 30


def count_actives(parquet: str, first_day: date, days: int) -> dict[str, Any]:
    """Seconds, DAU and MAU of each of up to 64 days, exact."""
    import duckdb

    if not 1 <= days <= 64:
        raise ValueError("one word holds at most 64 days")
    columns = [f"count_if((word >> {day}) & 1 = 1)" for day in range(days)]
    columns += [f"count_if(word & {_window_mask(day)}::UBIGINT <> 0)" for day in range(days)]
    started_at = time.perf_counter()
    connection = duckdb.connect()
    row = connection.execute(
        f"""
        WITH words AS (
            SELECT user_id, bit_or(1::UBIGINT << (day - DATE '{first_day}')::INTEGER) AS word
            FROM read_parquet(?) GROUP BY user_id
        )
        SELECT {", ".join(columns)} FROM words
        """,
        [parquet],
    ).fetchone()
    seconds = time.perf_counter() - started_at
    counts = list(row or ())
    return {"seconds": seconds, "dau": counts[:days], "mau": counts[days:]}


def _window_mask(day: int) -> int:
    """The bits of the days of the window that ends at bit `day`."""
    return sum(1 << earlier for earlier in range(max(0, day - MAU_DAYS + 1), day + 1))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(count_actives(sys.argv[1], date.fromisoformat(sys.argv[2]), int(sys.argv[3]))))
