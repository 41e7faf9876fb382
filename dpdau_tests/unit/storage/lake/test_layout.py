"""Names on disk stay what they were."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from dpdau_assets.storage.lake import layout
from dpdau_assets.storage.lake.layout import Layout

DAY = date(2026, 3, 1)


class TestNames:
    def test_every_path_is_the_one_of_earlier_versions(self) -> None:
        """A folder that any version made opens: none of these may ever change."""
        here = Layout(Path("/d"))
        paths = {name: str(getattr(here, name)) for name in vars(Layout) if isinstance(vars(Layout)[name], property)}
        assert paths == {
            "inbox": "/d/inbox",
            "staging": "/d/staging",
            "partitions": "/d/lake",
            "temporary_root": "/d/tmp",
            "lock_path": "/d/lake/.lock",
            "intent_path": "/d/lake/.intent.json",
            "journal_end_path": "/d/lake/.journal-end",
            "ledger_path": "/d/ledgers/ledger.sqlite",
            "ledger_id_path": "/d/lake/.ledger-id",
            "secrets_path": "/d/secrets/salts.json",
            "shared_noise_keys_folder": "/d/secrets/offsets",
            "journal_folder": "/d/journal",
            "backups": "/d/backups",
            "backups_lock_path": "/d/backups/.lock",
            "published": "/d/published",
            "catalogue_path": "/d/dpdau.duckdb",
            "streams": "/d/streams",
            "rotations_path": "/d/reports/rotations.md",
        }
        assert str(here.staging_path(DAY, batch="b", epoch=2)) == "/d/staging/day=2026-03-01/b-e2.parquet"
        assert str(here.partition_path("raw_events", DAY, epoch=-1)) == "/d/lake/raw_events/day=2026-03-01/e-1.parquet"
        assert str(here.windows_path(DAY)) == "/d/lake/mau_unions/day=2026-03-01/windows.parquet"
        assert str(here.quarantine_path("b")) == "/d/reports/quarantine/b.json"
        assert str(here.certificate_path("r")) == "/d/reports/certificates/r.md"
        assert (layout.METRICS_CSV, layout.METRICS) == ("published/metrics.csv", "published/metrics.parquet")
        assert (layout.REPORT, layout.DONE, layout.PLACEHOLDERS) == ("published/report.html", "done", "placeholders")

    def test_names_are_read_as_they_are_written(self) -> None:
        """The patterns take the names that the functions make, and give the parts back."""
        batch = "0" * 32
        staged = layout.STAGED_FILE.fullmatch(layout.staged_name(batch, 12))
        assert staged is not None and staged.groups() == (batch, "12")
        key_file = layout.KEY_FILE.fullmatch(layout.partition_name(layout.RAW_EVENTS, "12"))
        assert key_file is not None and key_file.groups() == ("12",)
        assert layout.day_of(layout.day_name(DAY)) == DAY

    @pytest.mark.parametrize("name", ["2026-03-01", "day=", "day=2026-02-30", "day=x", ".day=2026-03-01"])
    def test_other_names_are_no_days(self, name: str) -> None:
        """A folder that somebody put there is nobody's day."""
        assert layout.day_of(name) is None
