"""Joint noise through the whole release path: one account, one draw and one snapshot for three metrics."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from dpdau_assets.core.mechanisms.joint import joint_from_parameters
from dpdau_assets.core.quantities import METRICS, DayRange
from dpdau_assets.errors import ConfigurationError, DataError, OutsideSeriesError, UsageError
from dpdau_assets.operations.budget.reset import reset_budget
from dpdau_assets.operations.budget.shared_noise import shared_noise_keys
from dpdau_assets.operations.budget.snapshot import report_budget
from dpdau_assets.operations.lifecycle.apply_retention import apply_retention
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.ledger import accounts
from dpdau_tests.support.planted_counts import TRUE, open_planted
from dpdau_tests.support.release_folders import JANUARY, charges_of, releases_of

FIRST = DayRange.single(date(2025, 1, 1))
DURING = datetime(2025, 2, 10, 12, tzinfo=UTC)
COUNTS = (TRUE["dau"], TRUE["wau"], TRUE["mau"])


def folder(path: Path, **overrides: Any) -> Workspace:
    return open_planted(path, **{"mechanism": "joint", "now": DURING, **overrides})


def joint_account(workspace: Workspace, period: str = "2025-01") -> accounts.Account:
    with workspace.ledger.read() as connection:
        found = accounts.current_account(connection, "joint", period)
    assert found is not None
    return found


def recomputed_loss(workspace: Workspace) -> float:
    """The loss of everything charged, from the rows' own text and dp_accounting alone: vectors by their length."""
    from dp_accounting.pld import privacy_loss_distribution

    with workspace.ledger.read() as connection:
        rows = connection.exec_driver_sql("SELECT events FROM charges").all()
    events = [event for (text,) in rows for event in json.loads(text)]
    vectors = [event for event in events if event["event"] == "vector_discrete_gaussian"]
    shared_noise_events = [event for event in events if event["event"] == "discrete_gaussian"]
    assert len(vectors) + len(shared_noise_events) == len(events)
    stddev = vectors[0]["stddev"] / vectors[0]["squared_sensitivity"] ** 0.5
    composed = privacy_loss_distribution.from_gaussian_mechanism(stddev, use_connect_dots=True).self_compose(
        len(vectors)
    )
    for event in shared_noise_events:
        single = privacy_loss_distribution.from_discrete_gaussian_mechanism(event["stddev"], use_connect_dots=True)
        composed = composed.compose(single)
    return float(composed.get_epsilon_for_delta(1e-6))


class TestMonth:
    def test_everything_planned_is_made_and_fits(self, tmp_path: Path) -> None:
        """31 days and two revisions of all three metrics fit JOINT_BUDGET_TOTAL, the third revision does not."""
        workspace = folder(tmp_path)
        assert len(publish_releases(workspace, METRICS, JANUARY).newly_released) == 93
        three = DayRange(date(2025, 1, 1), date(2025, 1, 3))
        revised = publish_releases(workspace, METRICS, three, revise=True, reason="time zone was wrong")
        assert len(revised.newly_released) == 6
        assert [(refusal.metric, refusal.day.day) for refusal in revised.refused] == [(name, 3) for name in METRICS]
        assert 0.999 * 5.9 < recomputed_loss(workspace) <= 5.9
        assert {metric for metric, _, _ in charges_of(workspace)} == {"joint"}
        assert [kind for _, _, kind in charges_of(workspace)].count("opening") == 1

    @pytest.mark.slow
    def test_errors_are_far_below_those_of_three_accounts(self, tmp_path: Path) -> None:
        """The stated errors at the default caps are about 4.1 users each, and the values lie within six of them."""
        published = publish_releases(folder(tmp_path), METRICS, JANUARY)
        for result in published.results:
            assert result.noise_stddev < 4.2
            assert abs(result.estimate - TRUE[result.metric]) < 6 * result.noise_stddev
            assert result.vector is not None


class TestOneDraw:
    def test_one_metric_asked_is_all_three_released(self, tmp_path: Path) -> None:
        """Asking for DAU stores WAU and MAU of the day as well; asking for those later draws and costs nothing."""
        workspace = folder(tmp_path)
        asked = publish_releases(workspace, ("dau",), FIRST)
        assert [result.metric for result in asked.results] == ["dau"]
        assert {release.metric for release in releases_of(workspace)} == set(METRICS)
        before = charges_of(workspace)
        others = publish_releases(workspace, ("wau", "mau"), FIRST)
        assert others.newly_released == ()
        assert charges_of(workspace) == before
        assert {result.vector for result in (*asked.results, *others.results)} == {asked.results[0].vector}

    def test_is_refused_where_one_of_the_three_would_be(self, tmp_path: Path) -> None:
        """DAU alone is not released on a day whose MAU window reaches back beyond what is held."""
        near = {"series_start": date(2025, 1, 1), "now": datetime(2025, 6, 1, 12, tzinfo=UTC), "retention_days": 100}
        day = DayRange.single(date(2025, 3, 1))
        alone = folder(tmp_path / "gaussian", mechanism="gaussian", **near)
        apply_retention(alone)
        assert len(publish_releases(alone, ("dau",), day).newly_released) == 1
        together = folder(tmp_path / "joint", **near)
        apply_retention(together)
        with pytest.raises(OutsideSeriesError):
            publish_releases(together, ("dau",), day)
        assert charges_of(together) == []

    def test_the_draw_is_of_the_three_counts(self, tmp_path: Path) -> None:
        """What a stored vector leaves after K V and d h is the fresh noise: three numbers of the stated size."""
        workspace = folder(tmp_path)
        published = publish_releases(workspace, ("dau",), JANUARY)
        account = joint_account(workspace)
        mechanism, shared_noise = joint_from_parameters(account.parameters), shared_noise_keys(workspace).open(account)
        assert shared_noise is not None
        known = [
            mixed + direction * shared_noise
            for mixed, direction in zip(mechanism.shape.apply(COUNTS), mechanism.shape.centre, strict=True)
        ]
        fresh = [
            drawn - part for result in published.results for drawn, part in zip(result.vector or (), known, strict=True)
        ]
        assert len(fresh) == 93
        assert 0.7 < (sum(noise**2 for noise in fresh) / 93) ** 0.5 / mechanism.release_stddev < 1.35

    def test_is_revised_whole_or_not_at_all(self, tmp_path: Path) -> None:
        """A revision of one metric is refused; of all three it is one new draw, numbered alike."""
        workspace = folder(tmp_path)
        publish_releases(workspace, METRICS, FIRST)
        with pytest.raises(UsageError, match="cannot be revised alone"):
            publish_releases(workspace, ("dau",), FIRST, revise=True, reason="time zone was wrong")
        revised = publish_releases(workspace, METRICS, FIRST, revise=True, reason="time zone was wrong")
        assert [result.revision for result in revised.results] == [1, 1, 1]
        assert len({result.vector for result in revised.results}) == 1
        assert [kind for _, _, kind in charges_of(workspace)] == ["opening", *["release"] * 3, *["revision"] * 3]

    def test_one_event_pays_for_three_releases(self, tmp_path: Path) -> None:
        """Each release has a charge of its own; the three together hold one vector event."""
        workspace = folder(tmp_path)
        publish_releases(workspace, METRICS, FIRST)
        with workspace.ledger.read() as connection:
            rows = connection.exec_driver_sql("SELECT kind, events FROM charges ORDER BY charge").all()
        assert [(kind, len(json.loads(events))) for kind, events in rows] == [
            ("opening", 1), ("release", 1), ("release", 0), ("release", 0),
        ]  # fmt: skip


class TestAccount:
    def test_every_metric_shows_the_joint_budget(self, tmp_path: Path) -> None:
        """The budget of each metric is that of the one account: 5.9, of which 32 more releases remain."""
        workspace = folder(tmp_path)
        publish_releases(workspace, ("mau",), FIRST)
        stated = [report_budget(workspace, metric, "2025-01") for metric in METRICS]
        assert {(each.metric, each.epsilon_cap, each.releases_remaining) for each in stated} == {("joint", 5.9, 32)}

    def test_the_first_account_settles_the_month(self, tmp_path: Path) -> None:
        """A gaussian January stays metric by metric under `joint`, a joint one stays joint under `gaussian`."""
        gaussian = folder(tmp_path / "gaussian", mechanism="gaussian")
        publish_releases(gaussian, ("dau",), FIRST)
        later = folder(tmp_path / "gaussian")
        mixed = publish_releases(later, METRICS, DayRange(date(2025, 1, 31), date(2025, 2, 1)))
        assert [result.mechanism for result in mixed.results] == ["gaussian"] * 3 + ["joint"] * 3
        joint = folder(tmp_path / "joint")
        publish_releases(joint, ("dau",), FIRST)
        later = folder(tmp_path / "joint", mechanism="gaussian")
        mixed = publish_releases(later, METRICS, DayRange(date(2025, 1, 31), date(2025, 2, 1)))
        assert [result.mechanism for result in mixed.results] == ["joint"] * 3 + ["gaussian"] * 3

    def test_plans_for_what_the_month_allows(self, tmp_path: Path) -> None:
        """With a total below the joint cap the noise grows, so that the whole month still fits."""
        workspace = folder(tmp_path, total_budget_month=2.0)
        published = publish_releases(workspace, ("dau",), JANUARY)
        assert (len(published.results), published.refused) == (31, ())
        assert report_budget(workspace, "dau", "2025-01").releases_remaining == 2

    @pytest.mark.slow
    def test_a_reset_of_any_metric_is_one_of_the_account(self, tmp_path: Path) -> None:
        """Resetting DAU, or everything, opens one further joint account."""
        workspace = folder(tmp_path)
        publish_releases(workspace, METRICS, FIRST)
        resets = reset_budget(workspace, "dau", "2025-01", "approved by the data officer")
        assert [reset.metric for reset in resets] == ["joint"]
        assert report_budget(workspace, "wau", "2025-01").resets == 1

    def test_needs_exact_sets(self, tmp_path: Path) -> None:
        """A joint month is not continued with sketches, whose counts one user can move in other ways."""
        publish_releases(folder(tmp_path), METRICS, FIRST)
        sketched = folder(tmp_path, mechanism="gaussian", sketch_impl="kmv", expected_users=1000)
        with pytest.raises(ConfigurationError, match="released jointly"):
            publish_releases(sketched, ("dau",), DayRange.single(date(2025, 1, 2)))

    def test_damaged_parameters_are_an_error(self) -> None:
        """Stored parameters that do not describe a mechanism are refused."""
        for broken in ({}, {"matrix": [[1, 2], [3, 4]]}, {"matrix": 3}):
            with pytest.raises(DataError):
                joint_from_parameters(broken)
