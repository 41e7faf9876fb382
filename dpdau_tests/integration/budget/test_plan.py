"""A plan tells in advance what releases then do, and changes nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from dpdau_assets.cli.commands.plan import plan_text
from dpdau_assets.core.quantities import METRICS, DayRange
from dpdau_assets.errors import ConfigurationError, UsageError
from dpdau_assets.operations.budget.plan import MetricPlan, plan_releases
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_tests.support.command_line import CommandLine
from dpdau_tests.support.release_folders import JANUARY, NEW_YEAR, add_activity, everybody, open_folder

pytestmark = pytest.mark.untraced

IN_JANUARY = datetime(2025, 1, 20, 12, tzinfo=UTC)


def planned(workspace: Workspace, period: str = "2025-01", **changes: Any) -> dict[str, MetricPlan]:
    proposed = workspace.settings.model_copy(update=changes)
    return {each.metric: each for each in plan_releases(workspace, proposed, period=period)}


class TestForecast:
    @pytest.mark.parametrize(
        "settings",
        [
            {},
            {"mechanism": "laplace"},
            {"mechanism": "gaussian"},
            {"mechanism": "joint"},
            {"total_budget_month": 4.0},
            {"mechanism": "gaussian", "total_budget_365d": 1.0},
            {"sketch_impl": "kmv", "mechanism": "laplace", "epsilon_dau": 0.45},
        ],
        ids=lambda settings: "-".join(map(str, settings.values())) or "defaults",
    )
    @pytest.mark.one_is_enough
    def test_releases_do_what_the_plan_said(self, tmp_path: Path, settings: dict[str, Any]) -> None:
        """Funded days, the first refused day, its cap and the final spend are those of the month then released."""
        workspace = open_folder(tmp_path, **settings)
        plans = planned(workspace)
        published = publish_releases(workspace, METRICS, JANUARY)
        after = planned(workspace)
        for metric, plan in plans.items():
            refused = [refusal for refusal in published.refused if refusal.metric == metric]
            made = [result for result in published.results if result.metric == metric]
            assert (plan.releases_planned, plan.releases_funded) == (31, len(made))
            assert plan.runs_out_on == (refused[0].day if refused else None)
            assert plan.refused_by == (refused[0].scope if refused else None)
            assert plan.epsilon_at_end == pytest.approx(after[metric].epsilon_spent, abs=1e-12)
            assert after[metric].releases_planned == len(refused)

    def test_a_month_under_way_goes_on_from_where_it_is(self, tmp_path: Path) -> None:
        """Days already released are not planned again, and what they cost is counted."""
        workspace = open_folder(tmp_path, mechanism="laplace")
        publish_releases(workspace, METRICS, DayRange(NEW_YEAR, date(2025, 1, 4)))
        plan = planned(workspace)["mau"]
        assert plan.is_open
        assert plan.releases_planned == 27
        rest = publish_releases(workspace, METRICS, JANUARY)
        assert plan.runs_out_on == next(each.day for each in rest.refused if each.metric == "mau")

    @pytest.mark.parametrize("mechanism", ["gaussian", "laplace", "correlated", "joint"])
    @pytest.mark.one_is_enough
    @pytest.mark.slow
    def test_the_width_is_that_of_the_released_interval(self, tmp_path: Path, mechanism: str) -> None:
        """The planned 95 % width is what a release far from 0 then carries, to the rounding of its bounds."""
        workspace = open_folder(tmp_path, mechanism=mechanism)
        plans = planned(workspace)
        add_activity(workspace, everybody(900))
        for body in publish_releases(workspace, METRICS, DayRange.single(NEW_YEAR)).bodies:
            width = body["upper_95"] - body["lower_95"]
            assert plans[body["metric"]].precision.interval_width == pytest.approx(width, abs=2)

    def test_sampling_is_part_of_the_width(self, tmp_path: Path) -> None:
        """A sketch that samples half of the expected users errs by sampling and noise, each stated."""
        workspace = open_folder(tmp_path, sketch_impl="kmv", sketch_k=65536, expected_users=10**6)
        precision = planned(workspace)["dau"].precision
        assert precision.share == pytest.approx((65536 - 4 * 256) / 1.5e6, rel=1e-3)
        assert precision.users == 10**6
        assert precision.sampling_stddev is not None and precision.sampling_stddev > 1000
        assert precision.interval_width == pytest.approx(
            2 * 1.96 * (precision.sampling_stddev**2 + precision.noise_stddev**2) ** 0.5, rel=0.01
        )

    def test_an_unknown_threshold_bounds_the_error_from_below(self, tmp_path: Path) -> None:
        """While the first threshold has to be searched the error of everybody counted is stated as the least there is.

        The search is budgeted.
        """
        workspace = open_folder(tmp_path, sketch_impl="kmv", mechanism="gaussian")
        plan, exact = planned(workspace)["dau"], planned(workspace, sketch_impl="set")["dau"].precision
        assert plan.precision == replace(exact, sampling_stddev=None, share=None, is_lower_bound=True)
        assert plan.precision.noise_stddev == pytest.approx(12.99, abs=0.01)
        assert not exact.is_lower_bound and plan.to_json()["is_lower_bound"] is True
        text = plan_text([each.to_json() for each in planned(workspace).values()])
        assert "at least 13" in text and "at least 50" in text and "EXPECTED_USERS" in text
        hll = planned(workspace, sketch_impl="hll")["dau"].precision
        assert (hll.is_lower_bound, hll.noise_stddev, hll.interval_width) == (True, exact.noise_stddev, None)
        assert plan.epsilon_at_end > planned(workspace, sketch_impl="set")["dau"].epsilon_at_end


class TestProposals:
    def test_other_parameters_are_planned_for_a_month_that_is_not_settled(self, tmp_path: Path) -> None:
        """A change starts with the next month: an open one is refused by name, and left out by default."""
        workspace = open_folder(tmp_path, now=IN_JANUARY)
        publish_releases(workspace, ("dau",), DayRange.single(NEW_YEAR))
        proposed = workspace.settings.model_copy(update={"mechanism": "gaussian"})
        assert {each.period for each in plan_releases(workspace, proposed)} == {"2025-02"}
        assert {each.period for each in plan_releases(workspace, workspace.settings)} == {"2025-01"}
        with pytest.raises(UsageError):
            plan_releases(workspace, proposed, period="2025-01")

    def test_more_noise_costs_less(self, tmp_path: Path) -> None:
        """Half of epsilon a release: a wider interval, more releases that fit."""
        workspace = open_folder(tmp_path, mechanism="gaussian")
        usual, halved = planned(workspace)["mau"], planned(workspace, epsilon_mau=0.25)["mau"]
        assert (halved.precision.interval_width or 0) > 1.8 * (usual.precision.interval_width or 0)
        assert halved.releases_that_fit > 3 * usual.releases_that_fit
        assert usual.releases_that_fit == 35

    def test_what_releases_refuse_is_refused(self, tmp_path: Path) -> None:
        """A sketch too small for the noise cannot be planned either."""
        workspace = open_folder(tmp_path)
        with pytest.raises(ConfigurationError):
            planned(workspace, sketch_impl="kmv", sketch_k=64, expected_users=1000)

    def test_days_outside_the_series_are_not_planned(self, tmp_path: Path) -> None:
        """A month before the series has nothing to release; the last month ends with the series."""
        workspace = open_folder(tmp_path, series_end=date(2025, 2, 10))
        assert planned(workspace, "2024-12")["dau"].releases_planned == 0
        assert planned(workspace, "2025-02")["dau"].releases_planned == 10


class TestReading:
    def test_nothing_is_written(self, tmp_path: Path) -> None:
        """Planning changes no row and no file of the data folder."""
        workspace = open_folder(tmp_path, mechanism="correlated")
        publish_releases(workspace, METRICS, DayRange.single(NEW_YEAR))
        before = _state(workspace)
        planned(workspace)
        planned(workspace, "2025-02", mechanism="laplace", epsilon_dau=1.0)
        assert _state(workspace) == before


class TestCommand:
    @pytest.mark.slow
    def test_options_reach_the_plan(self, tmp_path: Path) -> None:
        """plan prints a table, or a JSON list; metric, epsilon, cap, mechanism and sketch replace the settings'."""
        dpdau = CommandLine(tmp_path / "project", SERIES_START="2025-01-01", SKETCH_IMPL="set")
        dpdau.json("init")
        plans = dpdau.json("plan", "--month", "2025-01")
        assert [each["metric"] for each in plans] == list(METRICS)
        assert [each["releases_that_fit"] for each in plans] == [33, 33, 33]
        assert {each["mechanism"] for each in plans} == {"correlated"}
        (gaussian,) = dpdau.json("plan", "--month", "2025-01", "--metric", "dau", "--mechanism", "gaussian")
        assert gaussian["releases_that_fit"] == 70
        options = ("--metric", "mau", "--mechanism", "laplace", "--epsilon", "0.25", "--cap", "2")
        (mau,) = dpdau.json("plan", "--month", "2025-01", *options)
        assert (mau["mechanism"], mau["epsilon"], mau["epsilon_cap"]) == ("laplace", 0.25, 2.0)
        assert mau["releases_that_fit"] == 8
        assert (mau["runs_out_on"], mau["refused_by"]) == (f"2025-01-{mau['releases_funded'] + 1:02d}", "month")
        assert "first release also pays" in dpdau("plan", "--month", "2025-01").out
        answer = dpdau("plan", "--month", "2025-01", "--mechanism", "laplace")
        assert answer.code == 0 and "runs out on 2025-01-" in answer.out

    def test_meaningless_options_are_refused(self, tmp_path: Path) -> None:
        """An unknown mechanism or sketch, an impossible epsilon, and epsilon for noise that fills its cap: one line."""
        dpdau = CommandLine(tmp_path / "project", SERIES_START="2025-01-01")
        dpdau.json("init")
        for options, code in (
            (("--mechanism", "pear"), 3),
            (("--sketch", "pear"), 3),
            (("--mechanism", "gaussian", "--epsilon", "-1"), 3),
            (("--epsilon", "0.3"), 2),
            (("--metric", "pear"), 2),
            (("--mechanism", "correlated", "--epsilon", "0.3"), 2),
            (("--mechanism", "tree"), 1),
        ):
            answer = dpdau("plan", *options)
            assert (answer.code, len(answer.err.strip().splitlines())) == (code, 1), (options, answer.err)


def _state(workspace: Workspace) -> dict[str, Any]:
    root = workspace.lake.root
    files = {str(path.relative_to(root)): path.stat().st_size for path in sorted(root.rglob("*")) if path.is_file()}
    with workspace.ledger.read() as connection:
        tables = ("meta", "accounts", "charges", "releases", "resets", "partitions")
        rows = {name: connection.exec_driver_sql(f"SELECT * FROM {name}").all() for name in tables}
    return {"files": files, "rows": rows}
