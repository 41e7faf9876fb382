"""The first ledger: batches, partitions, erasures, budget and releases."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Creates every table of the first version."""
    op.create_table(
        "meta", sa.Column("key", sa.String(), primary_key=True), sa.Column("value", sa.String(), nullable=False)
    )
    _batches()
    _partitions()
    _erasures()
    _accounts()
    _charges()


def _batches() -> None:
    op.create_table(
        "batches",
        sa.Column("seq", KEY, primary_key=True, autoincrement=True),
        sa.Column("batch", sa.String(32), nullable=False),
        sa.Column("source_format", sa.String(), nullable=False),
        sa.Column("received_at", sa.String(), nullable=False),
        sa.Column("events", sa.Integer(), nullable=False),
        sa.Column("accepted", sa.Integer(), nullable=False),
        sa.Column("rejected", sa.JSON(), nullable=False),
        sa.Column("erasures", sa.Integer(), nullable=False),
        sa.Column("is_folded", sa.Boolean(), nullable=False),
        sa.UniqueConstraint("batch"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "staged_files",
        sa.Column("batch_seq", KEY, sa.ForeignKey("batches.seq"), primary_key=True),
        sa.Column("day", sa.Date(), primary_key=True),
        sa.Column("epoch", sa.Integer(), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False),
    )
    op.create_index("staged_files_by_day", "staged_files", ["day"])


def _partitions() -> None:
    op.create_table(
        "partitions",
        sa.Column("asset", sa.String(), primary_key=True),
        sa.Column("day", sa.Date(), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("files", sa.JSON(), nullable=False),
        sa.Column("input_digest", sa.String(64), nullable=False),
        sa.Column("applied_erasure_seq", KEY, nullable=False),
        sa.Column("built_at", sa.String(), nullable=False),
        sa.Column("version", KEY, nullable=False),
    )
    op.create_index("partitions_by_version", "partitions", ["version"])


def _erasures() -> None:
    op.create_table(
        "erasure_requests",
        sa.Column("seq", KEY, primary_key=True, autoincrement=True),
        sa.Column("request", sa.String(32), nullable=False),
        sa.Column("requested_at", sa.String(), nullable=False),
        sa.Column("through_day", sa.Date(), nullable=False),
        sa.Column("users", sa.Integer(), nullable=False),
        sa.Column("completed_at", sa.String(), nullable=True),
        sa.UniqueConstraint("request"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "erasure_log",
        sa.Column("epoch", sa.Integer(), primary_key=True),
        sa.Column("user_key", KEY, primary_key=True, autoincrement=False),
        sa.Column("through_day", sa.Date(), nullable=False),
        sa.Column("seq", KEY, nullable=True),
        sa.Column("pending", sa.Boolean(), nullable=False),
        sqlite_with_rowid=False,
    )


def _accounts() -> None:
    op.create_table(
        "accounts",
        sa.Column("account", KEY, primary_key=True, autoincrement=True),
        sa.Column("metric", sa.String(), nullable=False),
        sa.Column("period", sa.String(7), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("mechanism", sa.String(), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("epsilon_cap", sa.Float(), nullable=False),
        sa.Column("delta", sa.Float(), nullable=False),
        sa.Column("month_cap", sa.Float(), nullable=False),
        sa.Column("year_cap", sa.Float(), nullable=False),
        sa.Column("opened_at", sa.String(), nullable=False),
        sa.UniqueConstraint("metric", "period", "generation"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "resets",
        sa.Column("reset", KEY, primary_key=True, autoincrement=True),
        sa.Column("metric", sa.String(), nullable=False),
        sa.Column("period", sa.String(7), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("reset_at", sa.String(), nullable=False),
        sa.UniqueConstraint("metric", "period", "generation"),
        sqlite_autoincrement=True,
    )


def _charges() -> None:
    op.create_table(
        "charges",
        sa.Column("charge", KEY, primary_key=True, autoincrement=True),
        sa.Column("account", KEY, sa.ForeignKey("accounts.account"), nullable=False),
        sa.Column("metric", sa.String(), nullable=False),
        sa.Column("period", sa.String(7), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("events", sa.JSON(), nullable=False),
        sa.Column("outcome", sa.JSON(), nullable=True),
        sa.Column("charged_at", sa.String(), nullable=False),
        sa.CheckConstraint("kind in ('release', 'revision', 'threshold')"),
        sqlite_autoincrement=True,
    )
    op.create_index("charges_by_period", "charges", ["period", "metric"])
    op.create_index("charges_by_day", "charges", ["day"])
    op.create_table(
        "releases",
        sa.Column("charge", KEY, sa.ForeignKey("charges.charge"), primary_key=True, autoincrement=False),
        sa.Column("metric", sa.String(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("drawn", KEY, nullable=False),
        sa.Column("result", sa.JSON(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("released_at", sa.String(), nullable=False),
        sa.UniqueConstraint("metric", "day", "revision"),
    )
