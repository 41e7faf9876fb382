"""Months through the release path against the errors and losses that are promised of shared noise.

Every month makes all that is planned, its days and two revisions, of all metrics. Losses are recomputed from the text
of the stored charges by dp_accounting alone. The mean square error of a month varies because its days share the offset:
its relative standard deviation is about 0.32, so that of a root mean square over n months is 0.16 / sqrt n.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from dpdau_assets.core.quantities import METRICS, DayRange, Metric, days_of_period
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_tests.support.planted_counts import TRUE, open_planted

BARS = {"dau": 5.3, "wau": 5.3, "mau": 4.7}
"""Largest root mean square errors at the default caps, in users."""
JOINT_BAR = 20.0
"""The same for each metric of joint noise at (1, 1e-6) and T = 30."""
SPREAD = 0.17
"""Relative standard deviation of a month's root mean square error, rounded up."""
DELTA = 1e-6
REASON = "time zone was wrong"


def months(first: int, last: int, *, only: Sequence[int] = range(1, 13)) -> Iterator[str]:
    """The calendar months of some years."""
    return (f"{year}-{month:02d}" for year in range(first, last + 1) for month in only)


def make_month(workspace: Workspace, period: str, metrics: Sequence[Metric] = METRICS) -> dict[Metric, list[float]]:
    """Makes everything that is planned for a month; the errors by metric. Nothing may be refused."""
    days = days_of_period(period)
    two = DayRange(days.first, days.first.replace(day=2))
    made = publish_releases(workspace, metrics, days)
    revised = publish_releases(workspace, metrics, two, revise=True, reason=REASON)
    assert made.refused == revised.refused == ()
    assert len(made.newly_released) + len(revised.newly_released) == len(metrics) * (len(days) + 2)
    errors: dict[Metric, list[float]] = {metric: [] for metric in metrics}
    for result in (*made.results, *revised.results):
        errors[result.metric].append(result.estimate - TRUE[result.metric])  # type: ignore[index]
    return errors


def root_mean_square(values: Sequence[float]) -> float:
    return math.sqrt(math.fsum(value**2 for value in values) / len(values))


def charged(workspace: Workspace) -> dict[tuple[str, str], Counter[str]]:
    """By metric and month, the events charged, as their rows' own text."""
    with workspace.ledger.read() as connection:
        rows = connection.exec_driver_sql("SELECT metric, period, events FROM charges").all()
    found: dict[tuple[str, str], Counter[str]] = {}
    for metric, period, events in rows:
        counted = found.setdefault((metric, period), Counter())
        counted.update(json.dumps(event, sort_keys=True) for event in json.loads(events))
    return found


def losses(workspace: Workspace) -> dict[tuple[str, str], float]:
    """The loss of each account's month at DELTA, by dp_accounting alone."""
    return {key: loss(tuple(sorted(counted.items()))) for key, counted in charged(workspace).items()}


@lru_cache
def loss(events: tuple[tuple[str, int], ...]) -> float:
    """What some events compose to; a vector of Gaussian numbers is a Gaussian number along its change."""
    from dp_accounting.pld import privacy_loss_distribution as pld

    composed = pld.identity()
    for text, count in events:
        event: dict[str, Any] = json.loads(text)
        if event["event"] == "vector_discrete_gaussian":
            stddev = event["stddev"] / event["squared_sensitivity"] ** 0.5
            single = pld.from_gaussian_mechanism(stddev, use_connect_dots=True)
        else:
            assert event["event"] == "discrete_gaussian"
            single = pld.from_discrete_gaussian_mechanism(
                event["stddev"], sensitivity=event["l2_sensitivity"], use_connect_dots=True
            )
        composed = composed.compose(single.self_compose(count))
    return float(composed.get_epsilon_for_delta(DELTA))


def is_as_stated(found: Sequence[float], stated: float, *, months_made: int) -> bool:
    """Whether a root mean square error lies within 4 standard errors of the stated one."""
    return abs(root_mean_square(found) / stated - 1) <= 4 * SPREAD / math.sqrt(months_made)


def stated_errors(workspace: Workspace, period: str, metrics: Sequence[Metric] = METRICS) -> dict[str, float]:
    """What the released values of a month say about their own errors."""
    first = DayRange.single(days_of_period(period).first)
    return {result.metric: result.noise_stddev for result in publish_releases(workspace, metrics, first).results}


class TestCorrelated:
    def test_a_month_keeps_to_its_promises(self, tmp_path: Path) -> None:
        """January, everything planned made: stated errors below the bars, found ones within 4 standard errors of them
        (noise of 0.4 or 2.5 the scale is not), every loss at or below its cap and within a thousandth of it."""
        workspace = open_planted(tmp_path)
        errors, stated = make_month(workspace, "2025-01"), stated_errors(workspace, "2025-01")
        assert all(stated[metric] <= bar for metric, bar in BARS.items())
        pooled = [error / stated[metric] for metric in METRICS for error in errors[metric]]
        assert is_as_stated(pooled, 1.0, months_made=3)
        assert not is_as_stated([0.4 * error for error in pooled], 1.0, months_made=3)
        assert not is_as_stated([2.5 * error for error in pooled], 1.0, months_made=3)
        for (metric, _), found_loss in losses(workspace).items():
            cap = workspace.settings.cap_of(metric)
            assert 0.999 * cap < found_loss <= cap
        together = sum(charged(workspace).values(), Counter())
        assert 5.9 < loss(tuple(sorted(together.items()))) <= 5.91

    @pytest.mark.slow
    @pytest.mark.timeout(3600)
    def test_three_years_of_all_metrics_are_made_whole(self, tmp_path: Path) -> None:
        """36 months of DAU, WAU and MAU with two revisions each: nothing is refused, by the caps over all metrics and
        over 365 days neither, and no month's loss exceeds its cap."""
        workspace = open_planted(tmp_path, series_start=date(2022, 1, 1))
        for period in months(2022, 2024):
            make_month(workspace, period)
        found = losses(workspace)
        assert len(found) == 3 * 36
        assert all(found_loss <= workspace.settings.cap_of(metric) for (metric, _), found_loss in found.items())

    @pytest.mark.slow
    @pytest.mark.timeout(3600)
    def test_fifty_years_stay_below_the_bars(self, tmp_path: Path) -> None:
        """600 months of DAU and MAU: root mean square errors below 5.3 and 4.7 users (at least 3 standard errors away),
        as stated to within 4 standard errors, which noise 7 % larger or smaller is not; no loss above its cap."""
        workspace = open_planted(tmp_path, series_start=date(1971, 1, 1), now=datetime(2021, 2, 1, 12, tzinfo=UTC))
        metrics: tuple[Metric, ...] = ("dau", "mau")
        errors: dict[Metric, list[float]] = {metric: [] for metric in metrics}
        expected: dict[Metric, list[float]] = {metric: [] for metric in metrics}
        for period in months(1971, 2020):
            made, stated = make_month(workspace, period, metrics), stated_errors(workspace, period, metrics)
            for metric in metrics:
                errors[metric] += made[metric]
                expected[metric] += [stated[metric]] * len(made[metric])
        for metric in metrics:
            found, typical = errors[metric], root_mean_square(expected[metric])
            assert root_mean_square(found) <= BARS[metric], (metric, root_mean_square(found), typical)
            assert is_as_stated(found, typical, months_made=600), (metric, root_mean_square(found), typical)
            for scale in (0.93, 1.07):
                assert not is_as_stated([scale * error for error in found], typical, months_made=600)
        found_losses = losses(workspace)
        assert len(found_losses) == 2 * 600
        assert all(found_loss <= workspace.settings.cap_of(metric) for (metric, _), found_loss in found_losses.items())


class TestJoint:
    def folder(self, path: Path, **overrides: Any) -> Workspace:
        return open_planted(path, mechanism="joint", joint_budget_total=1.0, **overrides)

    def test_februaries_keep_to_their_promises(self, tmp_path: Path) -> None:
        """Two of 28 days and two revisions at (1, 1e-6): stated errors at most 20 users, found ones within 4 standard
        errors of them (noise of 0.3 or 3 times the scale is not), all made, every loss within its cap."""
        workspace = self.folder(tmp_path, series_start=date(2023, 2, 1))
        stated: dict[str, float] = {}
        pooled: list[float] = []
        for period in ("2023-02", "2025-02"):
            errors, stated = make_month(workspace, period), stated_errors(workspace, period)
            pooled += [error / stated[metric] for metric in METRICS for error in errors[metric]]
        assert max(stated.values()) <= JOINT_BAR
        assert is_as_stated(pooled, 1.0, months_made=2)
        assert not is_as_stated([0.3 * error for error in pooled], 1.0, months_made=2)
        assert not is_as_stated([3.0 * error for error in pooled], 1.0, months_made=2)
        assert {metric for metric, _ in losses(workspace)} == {"joint"}
        assert all(0.999 < found_loss <= 1.0 for found_loss in losses(workspace).values())

    @pytest.mark.slow
    @pytest.mark.timeout(3600)
    def test_many_februaries_stay_below_the_bar(self, tmp_path: Path) -> None:
        """328 Februaries with T = 30: errors as stated to within 4 standard errors (4 %), which noise 10 % larger or
        smaller is not; stated at most 20 users, and found at most 20 to within 3 standard errors."""
        errors: dict[Metric, list[float]] = {metric: [] for metric in METRICS}
        made = 0
        for number in range(8):
            workspace = self.folder(
                tmp_path / str(number), series_start=date(1971, 2, 1), now=datetime(2026, 2, 1, 12, tzinfo=UTC)
            )
            for period in months(1971, 2025, only=(2,)):
                if len(days_of_period(period)) == 28:
                    made += 1
                    for metric, found in make_month(workspace, period).items():
                        errors[metric] += found
            assert all(found_loss <= 1.0 for found_loss in losses(workspace).values())
        stated = stated_errors(workspace, "2025-02")
        for metric in METRICS:
            found = errors[metric]
            assert stated[metric] <= JOINT_BAR
            assert root_mean_square(found) <= JOINT_BAR * (1 + 3 * SPREAD / math.sqrt(made))
            assert is_as_stated(found, stated[metric], months_made=made)
            for scale in (0.9, 1.1):
                assert not is_as_stated([scale * error for error in found], stated[metric], months_made=made)
