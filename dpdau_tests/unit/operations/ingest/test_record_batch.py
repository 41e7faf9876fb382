"""Recording a source that was read: once, whole, and only while what it was read under still holds."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from dpdau_assets.core.activity import ColumnMapping
from dpdau_assets.core.quantities import EARLIEST_DAY
from dpdau_assets.engines.choose import stage_engine
from dpdau_assets.engines.protocol import Pseudonymiser, RowLimits
from dpdau_assets.engines.sources.source import open_source
from dpdau_assets.operations.erase.request import erasure_status, request_erasure
from dpdau_assets.operations.ingest.record_batch import Outcome, Terms, record_batch
from dpdau_assets.operations.ingest.staging_area import staging_area
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.ledger import batches
from dpdau_tests.support.engine_reads import Row, write_jsonl
from dpdau_tests.support.workspaces import LONG_AFTER, key_files, new_workspace

DAY, LONG_AGO = date(2026, 3, 20), date(2010, 5, 1)
NAME = "0123456789abcdef" * 2


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty data folder."""
    return new_workspace(tmp_path / "data")


def record(workspace: Workspace, rows: list[Row]) -> Outcome:
    """Reads rows as if nobody were erased, and records them."""
    source = open_source(write_jsonl(workspace.lake.root.parent / "a.jsonl", rows), ColumnMapping())
    terms = Terms(RowLimits(workspace.settings.zone, LONG_AFTER.date(), EARLIEST_DAY), None, 0)
    salts, lake = workspace.salts, workspace.lake
    engine = stage_engine("duckdb", memory_limit=lake.memory_limit, threads=lake.threads)
    pseudonymiser = Pseudonymiser(salts.calendar, workspace.settings.mau_window_days, salts.epoch_key)
    with (
        staging_area(lake) as area,
        engine.read(
            source, pseudonymiser, limits=terms.limits, sink=area.add, progress=lambda done, total: None
        ) as reading,
    ):
        area.finish()
        return record_batch(workspace, source, NAME, area, reading, terms)


class TestRecordBatch:
    def test_it_is_recorded_once(self, workspace: Workspace) -> None:
        """Files, counts and the request of "-" rows are recorded together; the second time nothing changes."""
        rows: list[Row] = [("a", DAY, None), ("b", DAY, None), ("b", DAY, "-"), ("c", "no day", None)]
        assert record(workspace, rows) is Outcome.RECORDED
        before = key_files(workspace)
        with workspace.ledger.read() as connection:
            batch = batches.find(connection, NAME)
            assert batch is not None
            files = batches.staged_of(connection, batch.seq)
        assert {str(workspace.lake.staging_path(DAY, batch=NAME, epoch=file.epoch)) for file in files} == {
            str(workspace.lake.root / name) for name in before
        }
        assert [one["request"] for one in erasure_status(workspace)] == [NAME]
        assert workspace.lake.quarantine_path(NAME).exists()
        assert record(workspace, rows) is Outcome.KNOWN
        assert key_files(workspace) == before

    def test_terms_that_changed_record_nothing(self, workspace: Workspace) -> None:
        """An erasure made after the terms were taken, which leaves out an epoch of the source, is not overlooked."""
        request_erasure(workspace, [b"a"], through=DAY, now=LONG_AFTER)
        assert record(workspace, [("a", LONG_AGO, None)]) is Outcome.TERMS_CHANGED
        assert key_files(workspace) == {}
        with workspace.ledger.read() as connection:
            assert batches.find(connection, NAME) is None
