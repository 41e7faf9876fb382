"""What the default noise means for everybody: former folders, the end of a month, resets, halves."""

from __future__ import annotations

import csv
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dpdau_assets.cli.commands.release import one_line, release_table
from dpdau_assets.core.quantities import METRICS, DayRange
from dpdau_assets.errors import BudgetExhaustedError
from dpdau_assets.operations.budget.reset import reset_budget
from dpdau_assets.operations.budget.shared_noise import shared_noise_keys
from dpdau_assets.operations.budget.snapshot import report_budget
from dpdau_assets.operations.exports.export_metrics import export_metrics
from dpdau_assets.operations.exports.report import write_report
from dpdau_assets.operations.monitor.status import report_status
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_assets.storage.ledger import accounts
from dpdau_tests.support.planted_counts import TRUE, FixedNoise, open_planted
from dpdau_tests.support.release_folders import JANUARY, charges_of

FEW = DayRange(date(2025, 1, 1), date(2025, 1, 3))
TWO = DayRange(date(2025, 1, 1), date(2025, 1, 2))
DURING = datetime(2025, 2, 1, 4, tzinfo=UTC)  # 30 January is the last closed day
AFTER = datetime(2025, 3, 1, 12, tzinfo=UTC)
REASON = "time zone was wrong"


class TestFormerDefault:
    def test_an_open_month_goes_on_and_the_next_one_changes(self, tmp_path: Path) -> None:
        """A folder whose January was opened with the former default, gaussian, keeps that noise, its price and its room
        for January, revisions included; February is correlated, with an opening, and fits a release for each day."""
        former = open_planted(tmp_path, mechanism="gaussian", now=DURING)
        before = publish_releases(former, METRICS, FEW)
        former.close()
        later = open_planted(tmp_path, now=AFTER)
        assert later.settings.mechanism == "correlated"
        assert report_budget(later, "dau", "2025-01").releases_remaining == 67
        january = publish_releases(later, METRICS, DayRange(FEW.first, date(2025, 1, 6)))
        assert january.refused == () and january.results[:9] == before.results
        used = {(result.mechanism, result.epsilon_used) for result in january.results}
        assert used == {("gaussian", 0.3), ("gaussian", 0.4), ("gaussian", 0.5)}
        revised = publish_releases(later, ("dau",), FEW, revise=True, reason=REASON)
        assert {result.mechanism for result in revised.results} == {"gaussian"}
        assert report_budget(later, "dau", "2025-01").releases_remaining == 61
        assert not shared_noise_keys(later).kept() and {kind for _, _, kind in charges_of(later)} == {
            "release",
            "revision",
        }
        february = publish_releases(later, METRICS, DayRange(date(2025, 2, 1), date(2025, 2, 2)))
        assert {result.mechanism for result in february.results} == {"correlated"}
        assert february.refused == () and len(shared_noise_keys(later).kept()) == 3
        assert report_budget(later, "mau", "2025-02").releases_remaining == 26 + 2

    def test_a_metric_not_yet_opened_takes_the_present_default(self, tmp_path: Path) -> None:
        """Terms are frozen by metric and month: MAU's first release in a month of gaussian DAU is correlated."""
        publish_releases(open_planted(tmp_path, mechanism="gaussian", now=AFTER), ("dau",), FEW)
        published = publish_releases(open_planted(tmp_path, now=AFTER), METRICS, FEW)
        assert published.refused == ()
        chosen = {result.metric: result.mechanism for result in published.results}
        assert chosen == {"dau": "gaussian", "wau": "correlated", "mau": "correlated"}


class TestEndOfTheMonth:
    def test_the_release_after_the_last_is_refused_with_the_amounts(self, tmp_path: Path) -> None:
        """31 days and two revisions fill the cap; the 34th names what is spent and needed, and the next funded day."""
        workspace = open_planted(tmp_path, now=AFTER)
        publish_releases(workspace, ("dau",), JANUARY)
        body = publish_releases(workspace, ("dau",), TWO, revise=True, reason=REASON).bodies[-1]
        assert body["budget"]["releases_remaining"] == 0 and body["budget_remaining"] == 0
        assert 2.999 < body["budget"]["epsilon_spent"] <= 3.0
        refused = publish_releases(workspace, ("dau",), TWO, revise=True, reason=REASON).refused
        assert [(one.scope, one.next_funded_day) for one in refused] == [("metric", date(2025, 2, 1))] * 2
        assert refused[0].epsilon_spent <= 3.0 < 3.03 < refused[0].epsilon_needed < 3.06
        error = BudgetExhaustedError(refused)
        assert "has spent epsilon 3.000 of 3.000" in error.message and "`dpdau reset-budget`" in error.hint
        assert len(charges_of(workspace)) == 34

    @pytest.mark.slow
    def test_status_counts_days_against_what_is_left(self, tmp_path: Path) -> None:
        """The rest of the month fits with two revisions made, and no longer with a third."""
        workspace = open_planted(tmp_path, now=DURING)
        fits = []
        for days in (FEW, TWO, DayRange.single(FEW.last)):
            publish_releases(workspace, METRICS, days, revise=bool(fits), reason=REASON if fits else None)
            fits.append({name: part["month_fits"] for name, part in report_status(workspace)["budget"].items()})
        assert fits == [dict.fromkeys(METRICS, True)] * 2 + [dict.fromkeys(METRICS, False)]

    def test_a_reset_has_shared_noise_of_its_own_under_the_same_total(self, tmp_path: Path) -> None:
        """After the month's days a reset of DAU pays for an offset of its own, and makes a few revisions before the
        month's total refuses; the loss shown is that of both accounts."""
        workspace = open_planted(tmp_path, now=AFTER, total_budget_month=3.3)
        publish_releases(workspace, ("dau",), JANUARY)
        with workspace.ledger.read() as connection:
            first = accounts.current_account(connection, "dau", "2025-01")
        reset_budget(workspace, "dau", "2025-01", "approved by the data officer")
        revised = publish_releases(workspace, ("dau",), JANUARY, revise=True, reason=REASON)
        with workspace.ledger.read() as connection:
            second = accounts.current_account(connection, "dau", "2025-01")
        assert first is not None and second is not None
        assert {first.account, second.account} <= shared_noise_keys(workspace).kept()
        assert first.sealed_offset != second.sealed_offset
        assert [kind for name, _, kind in charges_of(workspace) if name == "dau"].count("opening") == 2
        assert 1 <= len(revised.newly_released) <= 6
        assert {one.scope for one in revised.refused} == {"month"}
        assert revised.refused[0].epsilon_spent <= 3.3 < revised.refused[0].epsilon_needed
        assert "no reset gets past this cap" in BudgetExhaustedError(revised.refused).hint
        stated = report_budget(workspace, "dau", "2025-01")
        assert stated.resets == 1 and stated.epsilon_spent > 3.0 and stated.releases_remaining == 0


class TestHalves:
    def test_are_shown_everywhere(self, tmp_path: Path) -> None:
        """6.5 users of noise: one decimal in bodies, tables, sentences, files and the page; whole ends of intervals."""
        workspace = open_planted(tmp_path, now=AFTER, noise=FixedNoise(7, shared=6))
        published = publish_releases(workspace, METRICS, FEW)
        for body in published.bodies:
            assert body["estimate"] == TRUE[body["metric"]] + 6.5
            assert isinstance(body["lower_95"], int) and isinstance(body["upper_95"], int)
        assert "1,006.5 [" in release_table(published.values)
        assert "MAU 2025-01-03 over 30 days: 10,006.5 active users" in one_line(published.bodies[-1])
        paths = export_metrics(workspace)
        with paths[0].open(newline="") as stream:
            assert {row["estimate"] for row in csv.DictReader(stream)} == {"1006.5", "3006.5", "10006.5"}
        assert set(pq.read_table(paths[1])["estimate"].to_pylist()) == {1006.5, 3006.5, 10006.5}
        page = write_report(workspace).read_text(encoding="utf-8")
        assert '<div class="figure">10,006.5</div>' in page and "<td>3,006.5</td>" in page
