"""The migrations build exactly the tables that the code uses, atomically."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from dpdau_assets.errors import ConfigurationError
from dpdau_assets.storage.ledger import ledger as ledgers
from dpdau_assets.storage.ledger.ledger import HEAD_REVISION, Ledger, create_or_open, open_existing
from dpdau_assets.storage.ledger.migrations import run
from dpdau_assets.storage.ledger.schema import metadata

FIRST_VERSION_ROWS = (
    "INSERT INTO accounts VALUES (3, 'dau', '2024-01', 1, 'gaussian', '{}', 3.0, 1e-6, 6.0, 29.0, 'then')",
    "INSERT INTO charges VALUES (7, 3, 'dau', '2024-01', '2024-01-05', 'release', '[]', NULL, 'then')",
    "INSERT INTO releases VALUES (7, 'dau', '2024-01-05', 0, 41, '{}', NULL, 'then')",
)


class TestMigrations:
    def test_migrated_tables_are_the_schema(self, ledger: Ledger) -> None:
        """Alembic finds no difference between a migrated ledger and `schema`."""
        with ledger.read() as connection:
            assert compare_metadata(MigrationContext.configure(connection), metadata) == []

    def test_checks_and_counters_are_migrated_too(self, tmp_path: Path, ledger: Ledger) -> None:
        """What Alembic does not compare is equal as well: checks, AUTOINCREMENT, WITHOUT ROWID."""
        plain = Ledger(ledgers.make_url(f"sqlite:///{tmp_path}/plain.sqlite"))
        with plain.write() as connection:
            metadata.create_all(connection)
        query = text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name != 'alembic_version'")
        found = []
        for each in (plain, ledger):
            with each.read() as connection:
                found.append({name: " ".join(sql.replace('"', "").split()) for name, sql in connection.execute(query)})
        plain.close()
        assert found[0] == found[1]

    def test_the_newest_revision_is_the_one_named(self) -> None:
        """The revision that is opened without Alembic is Alembic's head."""
        assert run.head() == HEAD_REVISION
        assert run.is_known(HEAD_REVISION) and not run.is_known("ffff")

    def test_rows_of_the_first_version_survive(self, tmp_path: Path) -> None:
        """Charges and releases keep their numbers and values, and the next charge gets the next number."""
        old = Ledger(ledgers.make_url(f"sqlite:///{tmp_path}/old.sqlite"))
        with old.write() as connection:
            command.upgrade(run.configuration(connection), "0001")
            for statement in FIRST_VERSION_ROWS:
                connection.exec_driver_sql(statement)
        old.close()
        opened = create_or_open(f"sqlite:///{tmp_path}/old.sqlite")
        with opened.write() as connection:
            assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
            assert connection.execute(text("SELECT charge, drawn FROM releases")).all() == [(7, 41)]
            connection.exec_driver_sql(FIRST_VERSION_ROWS[1].replace("(7,", "(NULL,").replace("'release'", "'opening'"))
            assert connection.execute(text("SELECT charge, kind FROM charges")).all() == [
                (7, "release"),
                (8, "opening"),
            ]
        opened.close()

    def test_a_failed_migration_leaves_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """When a migration fails half way, no table exists and the next opening succeeds."""
        real = run.upgrade

        def fail_after(connection: object) -> None:
            real(connection)  # type: ignore[arg-type]
            raise RuntimeError

        url = f"sqlite:///{tmp_path}/ledger.sqlite"
        monkeypatch.setattr(run, "upgrade", fail_after)
        with pytest.raises(RuntimeError):
            create_or_open(url)
        left = Ledger(ledgers.make_url(url))
        with left.read() as connection:
            assert connection.execute(text("SELECT count(*) FROM sqlite_master")).scalar() == 0
        left.close()
        monkeypatch.undo()
        create_or_open(url).close()

    def test_a_newer_ledger_is_refused(self, ledger: Ledger, tmp_path: Path) -> None:
        """A ledger of a later version is never touched."""
        with ledger.write() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        for opened in (create_or_open, open_existing):
            with pytest.raises(ConfigurationError, match="newer version"):
                opened(f"sqlite:///{tmp_path}/ledgers/ledger.sqlite")
