"""What refuses a release before any budget is looked at."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.errors import ConfigurationError, DpdauError, NotClosedError, OutsideSeriesError, UsageError
from dpdau_assets.operations.release.release_rules import (
    check_days,
    check_request,
    check_revisable,
    check_windows,
)
from dpdau_tests.support.release_folders import NEW_YEAR, NOW, open_folder


class TestCheckRequest:
    @pytest.mark.parametrize(
        ("settings", "request_", "error"),
        [
            ({}, {"revise": True, "reason": None}, UsageError),
            ({}, {"revise": True, "reason": "  "}, UsageError),
            ({"noise_source": "seeded"}, {"revise": False, "reason": None}, ConfigurationError),
            ({"use_bloom_for_diff": True}, {"revise": False, "reason": None}, ConfigurationError),
        ],
        ids=["no-reason", "an-empty-reason", "seeded", "bloom"],
    )
    def test_what_protects_nobody_is_refused(
        self, tmp_path: Path, settings: dict[str, Any], request_: dict[str, Any], error: type[DpdauError]
    ) -> None:
        """A revision without a reason, noise that can be repeated over real data, and experiments are refused."""
        with pytest.raises(error):
            check_request(open_folder(tmp_path, **settings), ("dau",), **request_)

    def test_seeded_noise_serves_synthetic_folders(self, tmp_path: Path) -> None:
        """A folder created as synthetic may be released with noise that can be repeated."""
        workspace = open_folder(tmp_path, synthetic=True, noise_source="seeded")
        check_request(workspace, ("dau", "wau", "mau"), revise=True, reason="an experiment")


class TestCheckRevisable:
    def test_only_what_is_released_can_be_revised(self) -> None:
        """The first pair without a value is named."""
        released = {("dau", NEW_YEAR)}
        check_revisable([("dau", NEW_YEAR)], released)
        with pytest.raises(UsageError, match="wau of 2025-01-01"):
            check_revisable([("dau", NEW_YEAR), ("wau", NEW_YEAR)], released)


class TestCheckDays:
    def test_only_closed_days_of_the_series_pass(self, tmp_path: Path) -> None:
        """A day before the series, after it, or not closed yet is refused, by an error of its own."""
        workspace = open_folder(tmp_path)
        last = NOW.date() - timedelta(days=1)
        check_days(workspace, DayRange(NEW_YEAR, last))
        with pytest.raises(OutsideSeriesError):
            check_days(workspace, DayRange(NEW_YEAR - timedelta(days=1), last))
        with pytest.raises(NotClosedError):
            check_days(workspace, DayRange(NEW_YEAR, NOW.date()))


class TestCheckWindows:
    def test_a_window_past_retention_is_refused(self, tmp_path: Path) -> None:
        """A window that reaches back beyond RETENTION_DAYS is refused although the day itself is kept."""
        workspace = open_folder(tmp_path, retention_days=400, mau_window_days=30)
        workspace.close()
        workspace = open_folder(tmp_path, retention_days=60, mau_window_days=30)
        day: date = NOW.date() - timedelta(days=40)
        check_windows(workspace, [("dau", day), ("wau", day)])
        with pytest.raises(OutsideSeriesError, match="window of mau"):
            check_windows(workspace, [("dau", day), ("mau", day)])
