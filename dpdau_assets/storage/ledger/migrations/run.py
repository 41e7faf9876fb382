"""Runs the migrations from inside the package: no alembic.ini, no second connection.

Belongs here: the programmatic entry to Alembic. Each revision under `versions/` changes tables in batch mode, because
SQLite alters most things by copying a table; all of them commit with the caller's transaction or not at all.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

SCRIPTS = Path(__file__).resolve().parent


def configuration(connection: Connection | None = None) -> Config:
    """Alembic's configuration for this package's revisions over `connection`."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def upgrade(connection: Connection) -> None:
    """Brings the ledger to the newest revision inside the transaction of `connection`."""
    command.upgrade(configuration(connection), "head")


def head() -> str | None:
    """The newest revision."""
    return ScriptDirectory.from_config(configuration()).get_current_head()


def is_known(revision: str) -> bool:
    """Returns whether this version of the package has `revision`."""
    scripts = ScriptDirectory.from_config(configuration())
    return any(script.revision == revision for script in scripts.walk_revisions())
