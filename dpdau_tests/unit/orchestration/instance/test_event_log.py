"""The event log with connections that stay open."""

from __future__ import annotations

import multiprocessing
import shutil
import time
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

from dpdau_assets.orchestration.instance.event_log import HomeInstance, PooledEventLog
from dpdau_assets.orchestration.instance.home import create_home

KEY = dg.AssetKey("asset")


@dg.op
def _nothing() -> None: ...


@dg.job
def _job() -> None:
    _nothing()


def _log(home: str, first: int, count: int) -> None:
    with dg.DagsterInstance.from_config(home) as instance:
        for number in range(first, first + count):
            instance.report_runless_asset_event(dg.AssetMaterialization(KEY, partition=str(number)))


class TestPooledEventLog:
    def test_a_new_home_uses_it(self, tmp_path: Path) -> None:
        """Every process that opens the home by its dagster.yaml gets the quicker storage."""
        with dg.DagsterInstance.from_config(str(create_home(tmp_path))) as instance:
            assert isinstance(instance, HomeInstance)
            assert isinstance(instance.event_log_storage, PooledEventLog)

    def test_the_stock_storage_reads_the_same_files(self, tmp_path: Path) -> None:
        """Runs and events written here are seen by Dagster without our class, and the other way round."""
        home = create_home(tmp_path)
        with dg.DagsterInstance.from_config(str(home)) as instance:
            run_id = _job.execute_in_process(instance=instance).run_id
            instance.report_runless_asset_event(dg.AssetMaterialization(KEY, partition="1"))
        (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n", encoding="utf-8")
        with dg.DagsterInstance.from_config(str(home)) as stock:
            assert type(stock.event_log_storage) is SqliteEventLogStorage
            assert stock.get_materialized_partitions(KEY) == {"1"}
            assert len(stock.all_logs(run_id)) > 5

    def test_a_moved_home_writes_where_it_is(self, tmp_path: Path) -> None:
        """No absolute path is kept: after a move the old place stays empty."""
        home = create_home(tmp_path / "before")
        shutil.move(home, tmp_path / "after")
        _log(str(tmp_path / "after"), 1, 1)
        assert not home.exists()
        with dg.DagsterInstance.from_config(str(tmp_path / "after")) as instance:
            assert instance.get_materialized_partitions(KEY) == {"1"}

    @pytest.mark.slow
    def test_processes_that_write_at_once_lose_nothing(self, tmp_path: Path) -> None:
        """Two writers and a reader: every event arrives, and nobody sees a locked database."""
        home = str(create_home(tmp_path))
        context = multiprocessing.get_context("spawn")
        writers = [context.Process(target=_log, args=(home, first, 25)) for first in (0, 100)]
        for writer in writers:
            writer.start()
        with dg.DagsterInstance.from_config(home) as instance:
            while any(writer.is_alive() for writer in writers):
                instance.get_materialized_partitions(KEY)
                time.sleep(0.02)
            for writer in writers:
                writer.join(60)
            assert [writer.exitcode for writer in writers] == [0, 0]
            assert len(instance.get_materialized_partitions(KEY)) == 50

    @pytest.mark.slow
    def test_old_runs_do_not_keep_connections(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """However many runs a process looks at, only a few files stay open."""
        monkeypatch.setattr("dpdau_assets.orchestration.instance.event_log.ENGINES_KEPT", 2)
        with dg.DagsterInstance.from_config(str(create_home(tmp_path))) as instance:
            runs = [_job.execute_in_process(instance=instance).run_id for _ in range(4)]
            storage = instance.event_log_storage
            assert isinstance(storage, PooledEventLog)
            assert storage.open_shards == 2
            assert all(len(instance.all_logs(run_id)) > 5 for run_id in runs)
