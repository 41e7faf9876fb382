"""The ledger's tables, as SQLAlchemy Core metadata; docs/data-model.md tells the life of each.

Only table shapes belong here. Everything in the ledger is on the trusted side; only the columns of `releases`
are published. Pseudonyms are unsigned 64-bit and stored as signed 64-bit with the same bits (SQL has no unsigned
type). Days are ISO dates, times are UTC ISO strings with microseconds.
"""

from __future__ import annotations

from datetime import date

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    Date,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    and_,
    false,
    func,
    not_,
    or_,
)

metadata = MetaData()
BigKey = BigInteger().with_variant(Integer, "sqlite")

meta = Table(
    "meta",
    metadata,
    Column("key", String, primary_key=True),
    Column("value", String, nullable=False),
    comment="ledger_id, created_at, synthetic, timezone, mau_window_days, epoch_anchor, salts_identity, "
    "salts_fingerprint, clock_high_water, tombstone_floor, tombstone_base, retention_floor, destroyed_below_epoch, "
    "partition_version",
)

batches = Table(
    "batches",
    metadata,
    Column("seq", BigKey, primary_key=True, autoincrement=True),
    Column("batch", String(32), nullable=False, unique=True),
    Column("source_format", String, nullable=False),
    Column("received_at", String, nullable=False),
    Column("events", Integer, nullable=False),
    Column("accepted", Integer, nullable=False),
    Column("rejected", JSON, nullable=False),
    Column("erasures", Integer, nullable=False),
    Column("is_folded", Boolean, nullable=False),
    sqlite_autoincrement=True,
    comment="one row per accepted source; `batch` is a keyed digest of content, column mapping and time zone",
)

staged_files = Table(
    "staged_files",
    metadata,
    Column("batch_seq", BigKey, ForeignKey("batches.seq"), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("digest", String(64), nullable=False),
    Index("staged_files_by_day", "day"),
    comment="files of staging/ that are not folded yet; a row goes when its file has been folded",
)

partitions = Table(
    "partitions",
    metadata,
    Column("asset", String, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("files", JSON, nullable=False),
    Column("input_digest", String(64), nullable=False),
    Column("applied_erasure_seq", BigKey, nullable=False),
    Column("built_at", String, nullable=False),
    Column("version", BigKey, nullable=False),
    Index("partitions_by_version", "version"),
    comment="the truth about every file of the lake; `files` maps epoch to sha256 of the file's bytes",
)

frozen_windows = Table(
    "frozen_windows",
    metadata,
    Column("day", Date, primary_key=True),
    Column("window_days", Integer, primary_key=True, autoincrement=False),
    Column("users", Integer, nullable=False),
    Column("is_exact", Boolean, nullable=False),
    comment="counts of windows that hold a day that retention dropped: no key stays of them, they are never recounted",
)

erasure_requests = Table(
    "erasure_requests",
    metadata,
    Column("seq", BigKey, primary_key=True, autoincrement=True),
    Column("request", String(32), nullable=False, unique=True),
    Column("requested_at", String, nullable=False),
    Column("through_day", Date, nullable=False),
    Column("users", Integer, nullable=False),
    Column("completed_at", String, nullable=True),
    sqlite_autoincrement=True,
    comment="one row per request, whatever the number of users in it",
)

erasure_log = Table(
    "erasure_log",
    metadata,
    Column("epoch", Integer, primary_key=True),
    Column("user_key", BigKey, primary_key=True, autoincrement=False),
    Column("through_day", Date, nullable=False),
    Column("seq", BigKey, nullable=True),
    Column("pending", Boolean, nullable=False),
    sqlite_with_rowid=False,
    comment="tombstones, one row per epoch; `seq` links the rows of a request only while it is pending",
)

accounts = Table(
    "accounts",
    metadata,
    Column("account", BigKey, primary_key=True, autoincrement=True),
    Column("metric", String, nullable=False),
    Column("period", String(7), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("mechanism", String, nullable=False),
    Column("parameters", JSON, nullable=False),
    Column("epsilon_cap", Float, nullable=False),
    Column("delta", Float, nullable=False),
    Column("month_cap", Float, nullable=False),
    Column("year_cap", Float, nullable=False),
    Column("opened_at", String, nullable=False),
    Column("sealed_offset", String, nullable=True),
    UniqueConstraint("metric", "period", "generation"),
    sqlite_autoincrement=True,
    comment="one budget account per metric and month, frozen at its first charge; a reset opens the next generation",
)

charges = Table(
    "charges",
    metadata,
    Column("charge", BigKey, primary_key=True, autoincrement=True),
    Column("account", BigKey, ForeignKey("accounts.account"), nullable=False),
    Column("metric", String, nullable=False),
    Column("period", String(7), nullable=False),
    Column("day", Date, nullable=False),
    Column("kind", String, nullable=False),
    Column("events", JSON, nullable=False),
    Column("outcome", JSON, nullable=True),
    Column("charged_at", String, nullable=False),
    CheckConstraint("kind in ('release', 'revision', 'threshold', 'opening', 'assumed')"),
    Index("charges_by_period", "period", "metric"),
    Index("charges_by_day", "day"),
    sqlite_autoincrement=True,
    comment="what was spent, as versioned events; a loss is always recomputed from them",
)

releases = Table(
    "releases",
    metadata,
    Column("charge", BigKey, ForeignKey("charges.charge"), primary_key=True, autoincrement=False),
    Column("metric", String, nullable=False),
    Column("day", Date, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("drawn", BigKey, nullable=False),
    Column("result", JSON, nullable=False),
    Column("reason", String, nullable=True),
    Column("released_at", String, nullable=False),
    UniqueConstraint("metric", "day", "revision"),
    comment="published values: `drawn` is the raw noisy integer, `result` what was derived from it at the draw",
)

resets = Table(
    "resets",
    metadata,
    Column("reset", BigKey, primary_key=True, autoincrement=True),
    Column("metric", String, nullable=False),
    Column("period", String(7), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("reason", String, nullable=False),
    Column("reset_at", String, nullable=False),
    UniqueConstraint("metric", "period", "generation"),
    sqlite_autoincrement=True,
    comment="approved openings of a further account; the totals over metrics and over 365 days still hold",
)

SHARED_NOISE_KIND = "opening"
ASSUMED_SHARED_NOISE = "is_opening"
"""The name in the outcome of an `assumed` charge that pays for lost shared noise and not for a lost value."""
IS_ASSUMED_SHARED_NOISE_CHARGE: ColumnElement[bool] = and_(
    charges.c.kind == "assumed", func.coalesce(charges.c.outcome[ASSUMED_SHARED_NOISE].as_boolean(), false())
)
IS_SHARED_NOISE_CHARGE: ColumnElement[bool] = or_(charges.c.kind == SHARED_NOISE_KIND, IS_ASSUMED_SHARED_NOISE_CHARGE)
IS_OF_A_DAY: ColumnElement[bool] = not_(IS_SHARED_NOISE_CHARGE)


def between(column: Column[date], first: date | None, last: date | None) -> list[ColumnElement[bool]]:
    """The conditions for days from `first` to `last`; None is no limit."""
    limits = [] if first is None else [column >= first]
    return limits if last is None else [*limits, column <= last]
