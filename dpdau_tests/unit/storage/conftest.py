"""A new ledger and a new lake for each test."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dpdau_assets.storage.lake import Lake
from dpdau_assets.storage.ledger import Ledger, create_or_open

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An empty ledger."""
    made = create_or_open(f"sqlite:///{tmp_path}/ledgers/ledger.sqlite")
    yield made
    made.close()


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty data folder."""
    made = Lake(tmp_path / "data", memory_limit="200MB", threads=1)
    made.make_folders()
    return made
