"""The columns of every file that is written: each schema once.

Belongs here: names, types and what may be absent. Writing and reading belong to who makes the file. Schemas on disk
never change: files that earlier versions wrote are read by these.
"""

from __future__ import annotations

import pyarrow as pa

KEY_COLUMN = "user_key"
KEY_SCHEMA = pa.schema([pa.field(KEY_COLUMN, pa.uint64(), nullable=False)])
"""A key file: of raw events, of live users, or staged (sensitive)."""

UNION_SCHEMA = pa.schema(
    [
        pa.field("window_days", pa.int32(), nullable=False),
        pa.field("first_day", pa.date32(), nullable=False),
        pa.field("last_day", pa.date32(), nullable=False),
        pa.field("epoch", pa.int32(), nullable=False),
        pa.field("sketch_impl", pa.string(), nullable=False),
        pa.field("users", pa.int64()),
        pa.field("sketch", pa.binary()),
    ]
)
"""A file of mau_unions; `users` is exact and for `set` only, `sketch` for the others only; both are sensitive."""

METRIC_SCHEMA = pa.schema(
    [
        ("metric", pa.string()),
        ("day", pa.date32()),
        ("window_days", pa.int32()),
        ("window_complete", pa.bool_()),
        ("days_in_window", pa.int32()),
        ("estimate", pa.float64()),
        ("lower_95", pa.int64()),
        ("upper_95", pa.int64()),
        ("is_lower_bound", pa.bool_()),
        ("epsilon_used", pa.float64()),
        ("delta", pa.float64()),
        ("mechanism", pa.string()),
        ("sketch_impl", pa.string()),
        ("noise_source", pa.string()),
        ("private", pa.bool_()),
        ("revision", pa.int32()),
    ]
)
"""published/metrics.parquet: the same as in a release body; nothing else of the ledger is published."""
