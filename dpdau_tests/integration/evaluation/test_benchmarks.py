"""The benchmark of erasures: whom it erases, and that it sees an erasure that left somebody."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dpdau_assets.errors import DataError
from dpdau_assets.evaluation.benchmarks import erasing
from dpdau_assets.evaluation.benchmarks.workload import YEAR_SMALL, ids_of, parquet_of
from dpdau_assets.storage.lake.key_files import read_table

TINY = replace(YEAR_SMALL, name="TINY", users=400, days=40)


def unheard(_line: str) -> None:
    """Nobody listens."""


class TestWorkload:
    def test_the_ids_of_a_workload_are_those_in_its_file(self, tmp_path: Path) -> None:
        """Users are chosen to be erased from the ids that the source holds."""
        tiny = replace(TINY, users=60, days=30, active_share=0.3)
        found = read_table(parquet_of(tiny, tmp_path, tell=unheard))
        assert set(found.column("user_id").to_pylist()) <= set(ids_of(tiny).to_pylist())
        assert len(set(found.column("user_id").to_pylist())) > 50
        assert {str(day) for day in found.column("day").to_pylist()} == {f"2024-03-{day:02}" for day in range(1, 31)}


@pytest.mark.slow
@pytest.mark.timeout(3600)
class TestErasing:
    @pytest.fixture
    def said(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """What the benchmark of a tiny workload prints."""
        monkeypatch.setattr(erasing, "YEAR_SMALL", TINY)
        monkeypatch.setattr(erasing, "LIMITS", {1: 0.1, 50: 0.5})
        return []

    def test_a_user_who_was_not_erased_is_seen(
        self, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Counts that still hold the users of the list are an error, not a fast erasure."""
        original = erasing.ErasingBench.run_dpdau

        def sparing(bench: erasing.ErasingBench, folder: Path, *arguments: str) -> object:
            return original(bench, folder, *(("erasures",) if arguments[0] == "erase" else arguments))

        monkeypatch.setattr(erasing.ErasingBench, "run_dpdau", sparing)
        home = tmp_path / "home"
        home.mkdir()
        with pytest.raises(DataError, match="a day does not have the users"):
            erasing.compare_erasing(tmp_path, home, is_quick=True, runs=1, tell=said.append)
