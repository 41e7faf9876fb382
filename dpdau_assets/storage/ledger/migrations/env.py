"""Alembic runs this module: it applies our revisions over the connection of `run`, inside its transaction."""

from __future__ import annotations

from alembic import context

from dpdau_assets.storage.ledger.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
