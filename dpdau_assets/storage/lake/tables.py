"""Defines the columns of every file that is written: each schema stands here once.

Belongs here: column names, types and nullability. Writing and reading belong to the module that makes the file. Schemas
on disk never change, because files of earlier versions are read with them.
"""

from __future__ import annotations

import pyarrow as pa

KEY_COLUMN = "user_key"
KEY_SCHEMA = pa.schema([pa.field(KEY_COLUMN, pa.uint64(), nullable=False)])
"""The schema of a key file of raw events or live users, or of a staged one (sensitive)."""

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
"""The schema of mau_unions; `set` fills `users`, which is exact, and the others `sketch`; both are sensitive."""

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
"""The schema of published/metrics.parquet: the values of a release body, and nothing else of the ledger."""
