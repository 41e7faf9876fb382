"""Adds the counts of windows whose days retention has dropped."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the table `frozen_windows`."""
    op.create_table(
        "frozen_windows",
        sa.Column("day", sa.Date(), primary_key=True),
        sa.Column("window_days", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("users", sa.Integer(), nullable=False),
        sa.Column("is_exact", sa.Boolean(), nullable=False),
    )
