"""Files of an evaluation: read back as written, and never mixed with those of another configuration."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from dpdau_assets.errors import ConfigurationError, DataError, InputError, StorageError
from dpdau_assets.evaluation.accuracy.grid import Unsupported
from dpdau_assets.evaluation.accuracy.results import read_results, require_same_configuration, write_results
from dpdau_assets.evaluation.accuracy.rows import Evaluation, Point, Row

ROW = Row(
    mechanism="gaussian",
    sketch="set",
    budget="settings",
    metric="dau",
    released=3,
    refused=1,
    lower_bounds=0,
    rmse=13.25,
    expected_rmse=12.99,
    bias=-1.5,
    coverage=1.0,
    mean_width=51.0,
    mean_users=900.0,
    epsilon_spent=0.8,
    epsilon_together=2.0,
    delta=1e-6,
    release_median_ms=20.5,
    release_p99_ms=30.0,
    build_median_ms=11.0,
    build_p99_ms=12.0,
)
NOTHING = replace(
    ROW, metric="mau", released=0, rmse=None, expected_rmse=None, bias=None, coverage=None, mean_width=None
)
POINTS = (
    Point("gaussian", "set", "settings", "dau", "2025-01-01", 905.5, 880, 931, 900),
    Point("gaussian", "set", "settings", "dau", "2025-01-02", 912, 880, None, 901),
)
CONFIGURATION = {
    "version": "0",
    "stream": {"name": "simulated.jsonl", "sha256": "ab" * 32},
    "seed": 5,
    "noise_source": "seeded",
}
FOUND = Evaluation(
    CONFIGURATION, (ROW, NOTHING), POINTS, (Unsupported("joint", "kmv", "any", "three counts"),), seconds=1.5
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_results(FOUND, tmp_path / "first")
    return tmp_path / "first"


class TestFiles:
    def test_results_come_back_as_written(self, folder: Path) -> None:
        """Rows, values, reasons and configuration are equal, empty cells included."""
        results = read_results(folder)
        assert (results.rows, results.points, results.unsupported) == (FOUND.rows, POINTS, FOUND.unsupported)
        assert results.configuration["seed"] == 5

    def test_rows_are_a_plain_table_too(self, folder: Path) -> None:
        """results.csv has one line for each row under the names of its fields."""
        with (folder / "results.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [(row["metric"], row["rmse"]) for row in rows] == [("dau", "13.25"), ("mau", "")]

    def test_every_file_says_that_it_is_trusted(self, folder: Path) -> None:
        """The summary and the documents say so, the exact counts in the name of their column."""
        assert "Trusted side" in (folder / "summary.md").read_text()
        for name in ("config.json", "results.json"):
            assert "trusted side" in json.loads((folder / name).read_text())["notice"]
        assert "exact_users_trusted_side" in (folder / "series.csv").read_text().splitlines()[0]

    def test_the_summary_holds_errors_and_reasons(self, folder: Path) -> None:
        """One line for a combination, with measured and predicted error; what was not evaluated has its reason."""
        text = (folder / "summary.md").read_text()
        assert "| gaussian | set | settings | 13.2 (13.0) | - | - | 100.0% | 3 / 2 | 2.00 | 20 |" in text
        assert "| joint | kmv | any | three counts |" in text

    def test_nothing_to_read_is_one_line(self, tmp_path: Path) -> None:
        """A folder without results names the command that makes them; damaged ones are data errors."""
        with pytest.raises(InputError, match="holds no results"):
            read_results(tmp_path)
        write_results(FOUND, tmp_path)
        (tmp_path / "results.json").write_text("[]")
        with pytest.raises(DataError):
            read_results(tmp_path)

    def test_a_disk_that_refuses_is_one_line(self, tmp_path: Path) -> None:
        """A file in the place of the folder."""
        (tmp_path / "file").write_text("")
        with pytest.raises(StorageError):
            write_results(FOUND, tmp_path / "file")


class TestConfiguration:
    def test_the_same_may_be_repeated(self, folder: Path) -> None:
        """An empty folder and the same configuration are fine, and what was found stays."""
        require_same_configuration(folder, CONFIGURATION)
        require_same_configuration(folder / "nothing", CONFIGURATION)
        assert read_results(folder).rows == FOUND.rows

    def test_another_is_refused_by_name(self, folder: Path) -> None:
        """What differs is named; the results stay."""
        with pytest.raises(ConfigurationError, match=r"other seed\)"):
            require_same_configuration(folder, {**CONFIGURATION, "seed": 6})
        with pytest.raises(ConfigurationError, match="other sketch_k, stream"):
            other = {name: value for name, value in CONFIGURATION.items() if name != "stream"}
            require_same_configuration(folder, {"sketch_k": 1, **other})
        assert read_results(folder).rows == FOUND.rows

    def test_a_damaged_one_is_not_replaced(self, folder: Path) -> None:
        """What cannot be read is not taken for the same."""
        (folder / "config.json").write_text("{")
        with pytest.raises(DataError):
            require_same_configuration(folder, CONFIGURATION)
