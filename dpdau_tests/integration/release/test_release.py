"""Releases over a real data folder: budget, finality, calendar, revisions, frozen terms."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from dpdau_assets.core.quantities import METRICS, DayRange
from dpdau_assets.core.release.release import BODY_FIELDS
from dpdau_assets.errors import (
    BudgetExhaustedError,
    ConfigurationError,
    DataError,
    NotClosedError,
    OutsideSeriesError,
    UsageError,
)
from dpdau_assets.operations.erase.request import request_erasure
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_tests.support.release_folders import (
    JANUARY,
    NEW_YEAR,
    NOW,
    add_activity,
    add_erasure,
    charges_of,
    everybody,
    open_folder,
    releases_of,
)

FIRST_WEEK = DayRange(NEW_YEAR, date(2025, 1, 7))
ONE_DAY = DayRange.single(NEW_YEAR)


class TestDefaultBudget:
    def test_a_month_of_31_days_fits(self, tmp_path: Path) -> None:
        """With the defaults all 31 days of DAU, WAU and MAU are released, each metric with one opening; the three are
        correlated noise, stated with its error."""
        workspace = open_folder(tmp_path)
        published = publish_releases(workspace, METRICS, JANUARY)
        assert len(published.results) == 93
        assert published.refused == ()
        kinds = Counter((metric, kind) for metric, _, kind in charges_of(workspace))
        assert kinds == {**{(name, "opening"): 1 for name in METRICS}, **{(name, "release"): 31 for name in METRICS}}
        assert {result.mechanism for result in published.results} == {"correlated"}
        stated = {result.metric: result.noise_stddev for result in published.results}
        assert stated == pytest.approx({"dau": 5.206, "wau": 5.206, "mau": 4.529}, abs=0.005)

    def test_the_first_that_does_not_fit_is_refused_with_the_amounts(self, tmp_path: Path) -> None:
        """Discrete Laplace at epsilon 0.3 fits ten times under 3.0; the eleventh names what is spent and needed."""
        workspace = open_folder(tmp_path, mechanism="laplace")
        published = publish_releases(workspace, ("dau",), JANUARY)
        assert [result.day.day for result in published.results] == list(range(1, 11))
        first = published.refused[0]
        assert (first.day, first.scope, first.epsilon_cap) == (date(2025, 1, 11), "metric", 3.0)
        assert first.epsilon_spent <= 3.0 < first.epsilon_needed
        assert first.epsilon_needed == pytest.approx(3.3, abs=0.35)
        assert first.next_funded_day == date(2025, 2, 1)
        assert "3.000" in str(BudgetExhaustedError(published.refused))
        assert len(charges_of(workspace)) == 10

    def test_a_range_goes_on_in_the_next_funded_month(self, tmp_path: Path) -> None:
        """Days refused in January do not keep February's from being released."""
        workspace = open_folder(tmp_path, mechanism="laplace")
        published = publish_releases(workspace, ("mau",), DayRange(NEW_YEAR, date(2025, 2, 9)))
        released = [result.day for result in published.results]
        assert released == [date(2025, 1, day) for day in range(1, 8)] + [date(2025, 2, day) for day in range(1, 8)]
        assert {refusal.period for refusal in published.refused} == {"2025-01", "2025-02"}
        assert published.refused[-1].next_funded_day == date(2025, 3, 1)

    @pytest.mark.slow
    def test_gaussian_releases_fit_as_often_as_stated(self, tmp_path: Path) -> None:
        """At the defaults 35 MAU releases fit a month: 31 days and 4 revisions; the fifth is refused."""
        workspace = open_folder(tmp_path, mechanism="gaussian")
        publish_releases(workspace, ("mau",), JANUARY)
        revised = publish_releases(workspace, ("mau",), FIRST_WEEK, revise=True, reason="calendar corrected")
        assert len(revised.newly_released) == 4
        assert [refusal.scope for refusal in revised.refused] == ["metric"] * 3
        assert revised.refused[0].epsilon_spent <= 3.5 < revised.refused[0].epsilon_needed


class TestFinality:
    def test_the_same_question_returns_the_stored_value_for_nothing(self, tmp_path: Path) -> None:
        """Asking again gives the same values, draws nothing and charges nothing."""
        workspace = open_folder(tmp_path)
        add_activity(workspace, everybody(50, days=7))
        first = publish_releases(workspace, METRICS, FIRST_WEEK)
        again = publish_releases(workspace, METRICS, FIRST_WEEK)
        assert again.results == first.results
        assert again.newly_released == ()
        assert [kind for _, _, kind in charges_of(workspace)].count("release") == 21

    def test_late_events_and_erasures_change_later_releases_only(self, tmp_path: Path) -> None:
        """A stored value stays when its day's data change; the next day's window counts what is live then."""
        workspace = open_folder(tmp_path)
        add_activity(workspace, everybody(900, days=3))
        first = publish_releases(workspace, ("wau",), DayRange(NEW_YEAR, date(2025, 1, 2)))
        add_erasure(workspace, [f"user-{number}" for number in range(600)], through=date(2025, 1, 3))
        again = publish_releases(workspace, ("wau",), DayRange(NEW_YEAR, date(2025, 1, 3)))
        assert again.results[:2] == first.results
        assert abs(first.results[1].estimate - 900) < 100
        assert abs(again.results[2].estimate - 300) < 100

    @pytest.mark.parametrize("impl", ["set", "kmv"])
    @pytest.mark.one_is_enough
    def test_pending_work_decides_nothing(self, tmp_path: Path, impl: str) -> None:
        """Waiting batches, late events and erasures change neither the status nor the number of releases."""
        outcomes = []
        for name in ("empty", "pending", "built"):
            workspace = open_folder(tmp_path / name, sketch_impl=impl, mechanism="laplace", expected_users=1000)
            if name != "empty":
                add_activity(workspace, everybody(200, days=15))
            if name == "built":
                publish_releases(workspace, ("wau",), ONE_DAY)
            if name == "pending":
                add_activity(workspace, {NEW_YEAR: ["late"], date(2025, 1, 3): ["later"]})
                add_erasure(workspace, ["user-1", "user-2"], through=date(2025, 1, 9))
            published = publish_releases(workspace, ("dau",), JANUARY)
            days = [result.day for result in published.results]
            outcomes.append((days, [(refusal.day, refusal.epsilon_spent) for refusal in published.refused]))
        assert outcomes[0] == outcomes[1] == outcomes[2]
        assert len(outcomes[0][0]) == 10

    def test_results_come_by_day_then_metric(self, tmp_path: Path) -> None:
        """Stored and new values are returned together in calendar order."""
        workspace = open_folder(tmp_path)
        publish_releases(workspace, ("wau",), FIRST_WEEK)
        published = publish_releases(workspace, ("dau", "wau"), DayRange(NEW_YEAR, date(2025, 1, 2)))
        assert [(result.day.day, result.metric) for result in published.results] == [
            (1, "dau"), (1, "wau"), (2, "dau"), (2, "wau"),
        ]  # fmt: skip
        assert {metric for metric, _ in published.newly_released} == {"dau"}


class TestCalendar:
    def test_an_open_day_is_refused_and_told_when_it_closes(self, tmp_path: Path) -> None:
        """A day closes at the midnight that ends it in TIMEZONE plus the delay, and not before."""
        workspace = open_folder(tmp_path, now=datetime(2025, 1, 3, 4, 59, tzinfo=UTC), timezone="Europe/Berlin")
        with pytest.raises(NotClosedError, match="2025-01-02 is not closed yet: it closes at 2025-01-03 05:00 UTC"):
            publish_releases(workspace, ("dau",), DayRange(NEW_YEAR, date(2025, 1, 2)))
        assert charges_of(workspace) == []
        assert len(publish_releases(workspace, ("dau",), ONE_DAY).results) == 1

    def test_days_outside_the_series_are_refused(self, tmp_path: Path) -> None:
        """Before SERIES_START and after SERIES_END nothing is released."""
        workspace = open_folder(tmp_path, series_end=date(2025, 1, 5))
        for day in (date(2024, 12, 31), date(2025, 1, 6)):
            with pytest.raises(OutsideSeriesError, match=str(day)):
                publish_releases(workspace, ("dau",), DayRange.single(day))
        assert charges_of(workspace) == []

    def test_without_a_series_one_line_says_so(self, tmp_path: Path) -> None:
        """SERIES_START unset refuses every release."""
        with pytest.raises(OutsideSeriesError, match="SERIES_START is not set"):
            publish_releases(open_folder(tmp_path, series_start=None), ("dau",), ONE_DAY)

    def test_the_clock_never_goes_back(self, tmp_path: Path) -> None:
        """A day that was closed once stays closed when the machine's clock is set back."""
        workspace = open_folder(tmp_path, now=NOW)
        publish_releases(workspace, ("dau",), ONE_DAY)
        earlier = open_folder(tmp_path, now=NOW - timedelta(days=200))
        published = publish_releases(earlier, ("dau",), DayRange.single(NOW.date() - timedelta(days=1)))
        assert len(published.newly_released) == 1
        assert releases_of(earlier)[-1].released_at >= releases_of(earlier)[0].released_at

    def test_windows_are_complete_by_the_series_alone(self, tmp_path: Path) -> None:
        """days_in_window counts days from SERIES_START, whether or not they hold data."""
        published = publish_releases(open_folder(tmp_path), ("wau",), DayRange(NEW_YEAR, date(2025, 1, 8)))
        assert [result.days_in_window for result in published.results] == [1, 2, 3, 4, 5, 6, 7, 7]
        assert [result.window_complete for result in published.results] == [False] * 6 + [True] * 2


class TestRevisions:
    def test_a_revision_is_a_new_charged_value(self, tmp_path: Path) -> None:
        """It gets the next number and its own charge, and is what is returned from then on."""
        workspace = open_folder(tmp_path)
        publish_releases(workspace, ("dau",), ONE_DAY)
        revised = publish_releases(workspace, ("dau",), ONE_DAY, revise=True, reason="time zone was wrong")
        assert [result.revision for result in revised.results] == [1]
        assert publish_releases(workspace, ("dau",), ONE_DAY).results == revised.results
        assert [kind for _, _, kind in charges_of(workspace)] == ["opening", "release", "revision"]
        assert [release.reason for release in releases_of(workspace)] == [None, "time zone was wrong"]

    def test_a_revision_needs_a_reason_and_a_value_to_revise(self, tmp_path: Path) -> None:
        """Neither an unexplained revision nor one of an unreleased day is made."""
        workspace = open_folder(tmp_path)
        with pytest.raises(UsageError, match="reason"):
            publish_releases(workspace, ("dau",), ONE_DAY, revise=True, reason="  ")
        with pytest.raises(UsageError, match="nothing to revise"):
            publish_releases(workspace, ("dau",), ONE_DAY, revise=True, reason="typo")
        assert charges_of(workspace) == []


class TestFrozenTerms:
    def test_an_open_account_keeps_its_noise(self, tmp_path: Path) -> None:
        """Settings changed within a month apply from the next month on; bodies say what was used."""
        publish_releases(open_folder(tmp_path, mechanism="gaussian"), ("dau",), ONE_DAY)
        changed = open_folder(tmp_path, mechanism="laplace", epsilon_dau=0.1)
        published = publish_releases(changed, ("dau",), DayRange(date(2025, 1, 31), date(2025, 2, 1)))
        january, february = published.results
        assert (january.mechanism, january.epsilon_used, january.delta) == ("gaussian", 0.3, 1e-6)
        assert (february.mechanism, february.epsilon_used, february.delta) == ("laplace", 0.1, 0.0)

    @pytest.mark.parametrize(("opened_with", "then", "enforced"), [(3.0, 9.0, 3.0), (3.0, 0.9, 0.9)])
    @pytest.mark.one_is_enough
    def test_the_cap_never_bends(self, tmp_path: Path, opened_with: float, then: float, enforced: float) -> None:
        """The smaller of the frozen cap and the present setting is enforced."""
        first = open_folder(tmp_path, mechanism="laplace", dau_budget_total=opened_with)
        publish_releases(first, ("dau",), ONE_DAY)
        second = open_folder(tmp_path, mechanism="laplace", dau_budget_total=then)
        published = publish_releases(second, ("dau",), JANUARY)
        assert len(published.results) == round(enforced / 0.3)
        assert {refusal.epsilon_cap for refusal in published.refused} == {enforced}

    def test_two_processes_with_different_settings_share_one_account(self, tmp_path: Path) -> None:
        """Whoever opens the month decides its terms; both see the same values."""
        usual = open_folder(tmp_path)
        laplace = open_folder(tmp_path, mechanism="laplace")
        one = publish_releases(laplace, ("dau",), ONE_DAY)
        two = publish_releases(usual, ("dau",), DayRange(NEW_YEAR, date(2025, 1, 2)))
        assert {result.mechanism for result in two.results} == {"laplace"}
        assert two.results[0] == one.results[0]

    def test_unknown_accounting_refuses_everything(self, tmp_path: Path) -> None:
        """A charge this version cannot read is never taken as free."""
        workspace = open_folder(tmp_path)
        publish_releases(workspace, ("dau",), ONE_DAY)
        with workspace.ledger.write() as connection:
            connection.exec_driver_sql("UPDATE charges SET events = ?", (json.dumps([{"version": 99, "event": "x"}]),))
        with pytest.raises(DataError, match="version 99"):
            publish_releases(workspace, ("dau",), FIRST_WEEK)
        assert len(releases_of(workspace)) == 1


class TestTotals:
    def test_the_month_over_all_metrics_is_capped(self, tmp_path: Path) -> None:
        """TOTAL_BUDGET_MONTH refuses what each metric's own cap would allow, at a loss over all metrics."""
        workspace = open_folder(tmp_path, mechanism="laplace", total_budget_month=2.0)
        published = publish_releases(workspace, METRICS, FIRST_WEEK)
        assert {refusal.scope for refusal in published.refused} == {"month"}
        assert published.refused[0].epsilon_spent <= 2.0 < published.refused[0].epsilon_needed
        assert 2 <= len(published.results) / 2 <= 3

    def test_every_window_of_365_days_is_capped(self, tmp_path: Path) -> None:
        """TOTAL_BUDGET_365D is looked up in every window that the day lies in, later days included."""
        workspace = open_folder(tmp_path, mechanism="gaussian", total_budget_365d=2.0)
        late = publish_releases(workspace, METRICS, DayRange(date(2025, 11, 1), date(2025, 11, 10)))
        assert {refusal.scope for refusal in late.refused} == {"trailing_365d"}
        refused = publish_releases(workspace, ("mau",), ONE_DAY).refused
        assert [refusal.scope for refusal in refused] == ["trailing_365d"]
        assert refused[0].epsilon_needed > 2.0 >= refused[0].epsilon_spent > 1.5
        assert refused[0].next_funded_day is not None
        assert refused[0].next_funded_day >= late.results[0].day + timedelta(days=300)


class TestSeededNoise:
    def test_it_works_only_in_a_synthetic_folder(self, tmp_path: Path) -> None:
        """Real folders refuse it; synthetic ones mark every value as not private."""
        with pytest.raises(ConfigurationError, match="synthetic"):
            open_folder(tmp_path / "real", noise_source="seeded")
        workspace = open_folder(tmp_path / "made", noise_source="seeded", synthetic=True)
        published = publish_releases(workspace, ("dau",), FIRST_WEEK)
        assert {(result.private, result.epsilon_used) for result in published.results} == {(False, None)}
        assert len({result.drawn for result in published.results}) > 2

    def test_two_folders_do_not_share_noise(self, tmp_path: Path) -> None:
        """The key of a draw holds the ledger's random name: the same seed gives other noise elsewhere."""
        drawn = []
        for name in ("one", "two"):
            workspace = open_folder(tmp_path / name, noise_source="seeded", synthetic=True)
            drawn.append([result.drawn for result in publish_releases(workspace, METRICS, FIRST_WEEK).results])
        assert drawn[0] != drawn[1]

    def test_experiment_settings_do_not_release(self, tmp_path: Path) -> None:
        """USE_BLOOM_FOR_DIFF refuses releases, because it is unsound."""
        with pytest.raises(ConfigurationError, match="USE_BLOOM_FOR_DIFF"):
            publish_releases(open_folder(tmp_path, use_bloom_for_diff=True), ("dau",), ONE_DAY)


class TestBodies:
    def test_a_body_has_exactly_the_public_fields(self, tmp_path: Path) -> None:
        """Fields of product contract only, JSON types only, the budget of the month beside them."""
        workspace = open_folder(tmp_path)
        body = publish_releases(workspace, ("wau",), ONE_DAY).bodies[0]
        assert tuple(body) == (*BODY_FIELDS, "budget_remaining", "budget", "version")
        assert json.loads(json.dumps(body)) == body
        assert body["budget"]["release_count"] == 1
        assert body["budget"]["period"] == "2025-01"
        assert body["budget_remaining"] == body["budget"]["budget_remaining"] == pytest.approx(1.84, abs=0.02)
        assert body["epsilon_used"] == pytest.approx(0.42, abs=0.01)


class TestRequests:
    def test_an_unknown_metric_is_refused(self, tmp_path: Path) -> None:
        """Only the three metrics have budgets, so only they are released."""
        with pytest.raises(UsageError, match="no such metric"):
            publish_releases(open_folder(tmp_path), ("qau",), ONE_DAY)  # type: ignore[arg-type]

    def test_a_metric_named_twice_is_released_once(self, tmp_path: Path) -> None:
        """Repeating a metric draws and charges nothing further, not even in a revision."""
        workspace = open_folder(tmp_path)
        assert len(publish_releases(workspace, ("dau", "dau"), ONE_DAY).results) == 1
        publish_releases(workspace, ("dau", "dau"), ONE_DAY, revise=True, reason="typo")
        assert [kind for _, _, kind in charges_of(workspace)] == ["opening", "release", "revision"]

    def test_seeded_noise_set_after_opening_is_refused(self, tmp_path: Path) -> None:
        """The rule is checked at the release too, not only where the folder is opened."""
        workspace = open_folder(tmp_path)
        seeded = replace(workspace, settings=workspace.settings.model_copy(update={"noise_source": "seeded"}))
        with pytest.raises(ConfigurationError, match="synthetic"):
            publish_releases(seeded, ("dau",), ONE_DAY)
        assert charges_of(workspace) == []

    def test_the_series_may_move_back_by_a_year_only(self, tmp_path: Path) -> None:
        """How far back releases may reach is fixed by the first SERIES_START, a public fact."""
        open_folder(tmp_path).close()
        year_earlier = open_folder(tmp_path, series_start=date(2024, 1, 1))
        assert len(publish_releases(year_earlier, METRICS, DayRange.single(date(2024, 1, 1))).results) == 3
        too_early = open_folder(tmp_path, series_start=date(2023, 12, 30))
        with pytest.raises(ConfigurationError, match="may move back by a year"):
            publish_releases(too_early, ("mau",), DayRange.single(date(2023, 12, 30)))

    def test_an_erasure_never_decides_whether_a_release_exists(self, tmp_path: Path) -> None:
        """With and without one user's erasure, SERIES_START moved back afterwards gives the same answers."""
        answers = []
        for name in ("with", "without"):
            workspace = open_folder(tmp_path / name, series_start=date(2025, 6, 1))
            add_activity(workspace, everybody(2, first=date(2025, 6, 5)))
            if name == "with":
                request_erasure(workspace, [b"user-0"], through=date(2025, 6, 5), now=NOW)
            workspace.close()
            moved = open_folder(tmp_path / name, series_start=date(2025, 3, 1))
            published = publish_releases(moved, METRICS, DayRange.single(date(2025, 3, 4)))
            answers.append([(result.metric, result.day) for result in published.results])
        assert answers[0] == answers[1] == [(metric, date(2025, 3, 4)) for metric in METRICS]
