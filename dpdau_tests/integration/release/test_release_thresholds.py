"""Releases of bottom-k sketches: thresholds fixed before the count is read, and what the first one costs."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from dpdau_assets.core.mechanisms.above_threshold import ABOVE_THRESHOLD_EVENT, KEY_SPACE
from dpdau_assets.core.quantities import DayRange
from dpdau_assets.core.release.release import ReleaseResult, next_threshold, threshold_for
from dpdau_assets.errors import ConfigurationError
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.ledger import accounts, releases, schema
from dpdau_tests.support.release_folders import (
    NEW_YEAR,
    add_activity,
    charges_of,
    everybody,
    open_folder,
    thresholds_found,
)

THREE_DAYS = DayRange(NEW_YEAR, NEW_YEAR + timedelta(days=2))


def kmv_folder(path: Path, *, users: int, k: int = 4096, days: int = 3, expected: int | None = None) -> Workspace:
    """A folder whose sketches keep k keys, with `users` active on each of some days."""
    workspace = open_folder(path, sketch_impl="kmv", sketch_k=k, expected_users=expected)
    add_activity(workspace, everybody(users, days=days))
    return workspace


class TestFirstThreshold:
    def test_without_a_public_size_one_search_is_charged(self, tmp_path: Path) -> None:
        """The first release of a metric charges AboveThreshold with its outcome and counts below what it found."""
        workspace = kmv_folder(tmp_path, users=9000)
        results = publish_releases(workspace, ("dau",), THREE_DAYS).results
        assert [kind for _, _, kind in charges_of(workspace)] == ["opening", "threshold", *["release"] * 3]
        assert thresholds_found(workspace, "dau") == [results[0].threshold]
        assert results[0].threshold < KEY_SPACE
        with workspace.ledger.read() as connection:
            charged = dict(accounts.events_of_metric(connection, "dau", "2025-01"))
        assert charged[ABOVE_THRESHOLD_EVENT] == 1
        assert all(abs(result.estimate - 9000) < 1500 for result in results)

    def test_a_public_size_costs_nothing(self, tmp_path: Path) -> None:
        """With EXPECTED_USERS the first threshold follows from it alone."""
        workspace = kmv_folder(tmp_path, users=500, expected=20_000)
        result = publish_releases(workspace, ("dau",), DayRange.single(NEW_YEAR)).results[0]
        assert result.threshold == threshold_for(20_000, k=4096)
        assert [kind for _, _, kind in charges_of(workspace)] == ["opening", "release"]

    def test_a_sketch_too_small_for_a_search_is_refused(self, tmp_path: Path) -> None:
        """Below k = 4096 a public size is needed; nothing is charged."""
        workspace = kmv_folder(tmp_path, users=10, k=2048)
        with pytest.raises(ConfigurationError, match="SKETCH_K=2048"):
            publish_releases(workspace, ("dau",), DayRange.single(NEW_YEAR))
        assert charges_of(workspace) == []

    def test_the_search_counts_against_the_budget(self, tmp_path: Path) -> None:
        """A first release whose search does not fit is refused whole: neither search nor draw is made."""
        workspace = open_folder(tmp_path, sketch_impl="kmv", mechanism="laplace", dau_budget_total=0.32)
        published = publish_releases(workspace, ("dau",), DayRange.single(NEW_YEAR))
        assert [refusal.scope for refusal in published.refused] == ["metric"]
        assert charges_of(workspace) == []


class TestLaterThresholds:
    def test_they_follow_the_last_release_in_ledger_order(self, tmp_path: Path) -> None:
        """Each threshold is the rule applied to the release made before it, whatever its day."""
        workspace = kmv_folder(tmp_path, users=9000)
        later = publish_releases(workspace, ("dau",), DayRange.single(date(2025, 1, 3))).results[0]
        earlier = publish_releases(workspace, ("dau",), DayRange(NEW_YEAR, date(2025, 1, 2))).results
        assert earlier[0].threshold == next_threshold(later, k=4096)
        assert earlier[1].threshold == next_threshold(earlier[0], k=4096)

    def test_a_full_sketch_is_published_as_a_lower_bound(self, tmp_path: Path) -> None:
        """An expected size far too small fills the sketch: the value is flagged and the threshold halves."""
        workspace = kmv_folder(tmp_path, users=9000, expected=1000)
        first, second, third = publish_releases(workspace, ("dau",), THREE_DAYS).results
        assert (first.is_lower_bound, first.upper_95) == (True, None)
        assert first.estimate < 9000
        assert second.threshold == first.threshold // 2
        assert third.threshold in (second.threshold // 2, next_threshold(second, k=4096))

    def test_thresholds_do_not_look_at_the_count(self, tmp_path: Path) -> None:
        """Folders with the same earlier release use the same threshold, however many users they hold."""
        thresholds = []
        for name, users in (("few", 100), ("many", 6000)):
            workspace = kmv_folder(tmp_path / name, users=users, expected=5000)
            publish_releases(workspace, ("dau",), DayRange.single(NEW_YEAR))
            with workspace.ledger.write() as connection:
                stored = releases.last_release(connection, "dau")
                assert stored is not None
                same = {**ReleaseResult.from_json(stored.result).to_json(), "drawn": 2000, "is_lower_bound": False}
                connection.execute(update(schema.releases).values(drawn=2000, result=same))
            published = publish_releases(workspace, ("dau",), DayRange.single(NEW_YEAR + timedelta(days=1)))
            thresholds.append(published.results[0].threshold)
        assert thresholds[0] == thresholds[1]

    def test_a_switch_from_exact_sketches_costs_no_search(self, tmp_path: Path) -> None:
        """Earlier releases of either kind give the next threshold."""
        exact = open_folder(tmp_path)
        add_activity(exact, everybody(7000, days=2))
        first = publish_releases(exact, ("dau",), DayRange.single(NEW_YEAR)).results[0]
        sketched = open_folder(tmp_path, sketch_impl="kmv", sketch_k=4096)
        second = publish_releases(sketched, ("dau",), DayRange.single(NEW_YEAR + timedelta(days=1))).results[0]
        assert second.threshold == next_threshold(first, k=4096) < KEY_SPACE
        assert [kind for _, _, kind in charges_of(sketched)] == ["opening", "release", "release"]
