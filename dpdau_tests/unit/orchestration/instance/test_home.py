"""Creating a Dagster home."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import dagster as dg
import pytest

from dpdau_assets.orchestration.instance.home import create_home


def _create(path: str) -> None:
    create_home(Path(path))


class TestCreateHome:
    def test_a_home_can_be_used_and_sends_nothing_out(self, tmp_path: Path) -> None:
        """Dagster opens the home with telemetry and sign-up prompts off."""
        home = create_home(tmp_path / "home")
        with dg.DagsterInstance.from_config(str(home)) as instance:
            assert instance.get_runs_count() == 0
            assert not instance.telemetry_enabled
            assert not instance.nux_enabled

    def test_a_second_call_changes_nothing(self, tmp_path: Path) -> None:
        """What an operator wrote into dagster.yaml stays."""
        home = create_home(tmp_path)
        (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n", encoding="utf-8")
        before = {path: path.stat().st_mtime_ns for path in home.rglob("*")}
        create_home(tmp_path)
        assert {path: path.stat().st_mtime_ns for path in home.rglob("*")} == before

    @pytest.mark.slow
    def test_two_processes_may_create_it_at_once(self, tmp_path: Path) -> None:
        """Two that start at the same moment do not fail and the home is whole."""
        context = multiprocessing.get_context("spawn")
        processes = [context.Process(target=_create, args=(str(tmp_path / "home"),)) for _ in range(2)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
        assert [process.exitcode for process in processes] == [0, 0]
        with dg.DagsterInstance.from_config(str(tmp_path / "home")) as instance:
            assert instance.get_asset_keys() == []  # type: ignore[comparison-overlap]
