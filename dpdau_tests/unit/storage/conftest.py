"""A new ledger and a new lake for each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dpdau_assets.storage.lake.lake import Lake
from dpdau_assets.storage.ledger.ledger import Ledger, create_or_open

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def new_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of an empty ledger, migrated once for all tests."""
    path = tmp_path_factory.mktemp("new") / "ledger.sqlite"
    made = create_or_open(f"sqlite:///{path}")
    made.scrub()
    made.close()
    return path


@pytest.fixture
def ledger(tmp_path: Path, new_ledger: Path) -> Iterator[Ledger]:
    """An empty ledger."""
    target = tmp_path / "ledgers" / "ledger.sqlite"
    target.parent.mkdir()
    shutil.copyfile(new_ledger, target)
    made = create_or_open(f"sqlite:///{target}")
    yield made
    made.close()


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty data folder."""
    made = Lake(tmp_path / "data", memory_limit="200MB", threads=1)
    made.make_folders()
    return made
