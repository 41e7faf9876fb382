"""Which epochs the unexpired backups still need."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dpdau_assets.storage.backups.backup_needs import lowest_epoch_needed

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def write(folder: Path, name: str, *, days: float, lowest: object) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"expires_at": (NOW + timedelta(days=days)).isoformat(), "lowest_epoch": lowest}))


class TestLowestEpochNeeded:
    def test_without_backups_nothing_is_needed(self, tmp_path: Path) -> None:
        """No folder, no need."""
        assert lowest_epoch_needed(tmp_path / "backups", now=NOW) is None

    def test_the_lowest_of_the_unexpired_counts(self, tmp_path: Path) -> None:
        """Copies of the ledger and of the lake alike; an expired one and one of an empty folder need nothing."""
        write(tmp_path, "ledger-20260201.json", days=0, lowest=1)
        write(tmp_path, "ledger-20260227.json", days=3, lowest=None)
        assert lowest_epoch_needed(tmp_path, now=NOW) is None
        write(tmp_path, "ledger-20260228.json", days=4, lowest=9)
        write(tmp_path, "lake-20260228/manifest.json", days=4, lowest=8)
        assert lowest_epoch_needed(tmp_path, now=NOW) == 8

    def test_what_cannot_be_understood_needs_everything(self, tmp_path: Path) -> None:
        """Destruction cannot be taken back."""
        write(tmp_path, "ledger-20260228.json", days=4, lowest="nine")
        assert lowest_epoch_needed(tmp_path, now=NOW) == 0
        for text in ("", "[]", "{}", '{"expires_at": "soon", "lowest_epoch": 5}'):
            (tmp_path / "ledger-20260228.json").write_text(text)
            assert lowest_epoch_needed(tmp_path, now=NOW) == 0
