"""Adds the charge kinds `opening` and `assumed`, and an account's encrypted shared noise (`sealed_offset`)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Widens the check on `charges.kind` and adds `accounts.sealed_offset`.

    SQLite changes a check by copying its table. Releases refer to charges, so they are first moved to another table: a
    table whose rows are referred to cannot be dropped while foreign keys are enforced, which a transaction always does.
    """
    op.add_column("accounts", sa.Column("sealed_offset", sa.String(), nullable=True))
    op.execute("CREATE TABLE releases_aside AS SELECT * FROM releases")
    op.drop_table("releases")
    op.rename_table("charges", "charges_before")
    op.drop_index("charges_by_period", "charges_before")
    op.drop_index("charges_by_day", "charges_before")
    _charges()
    op.execute("INSERT INTO charges SELECT * FROM charges_before")
    op.drop_table("charges_before")
    _releases()
    op.execute("INSERT INTO releases SELECT * FROM releases_aside")
    op.drop_table("releases_aside")


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
        sa.CheckConstraint("kind in ('release', 'revision', 'threshold', 'opening', 'assumed')"),
        sqlite_autoincrement=True,
    )
    op.create_index("charges_by_period", "charges", ["period", "metric"])
    op.create_index("charges_by_day", "charges", ["day"])


def _releases() -> None:
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
