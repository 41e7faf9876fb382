"""The sampling threshold: one rule for releases, for plans of them and for charges of lost ones."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from dpdau_assets.core.dp_events import NO_EVENTS
from dpdau_assets.core.mechanisms.calibration import mechanism_from
from dpdau_assets.core.mechanisms.joint import joint_gaussian
from dpdau_assets.core.mechanisms.planning import PeriodPlan
from dpdau_assets.core.quantities import DayRange
from dpdau_assets.core.release.release import ReleaseResult
from dpdau_assets.core.sketches.protocol import KEY_SPACE
from dpdau_assets.errors import ConfigurationError
from dpdau_assets.operations.budget.lost_releases import assume_released, set_unaccounted
from dpdau_assets.operations.budget.sampling_threshold import SEARCH, sampling_threshold, search_charge
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.settings.settings import Settings
from dpdau_assets.storage.ledger import accounts
from dpdau_tests.support.release_folders import (
    NEW_YEAR,
    add_activity,
    charges_of,
    everybody,
    open_folder,
    releases_of,
)

NOISE = mechanism_from("gaussian", epsilon=0.5, delta=1e-6, plan=PeriodPlan(31, 3.0, 1e-6))
A_DAY = DayRange.single(NEW_YEAR)
SAMPLED = {"sketch_impl": "kmv", "sketch_k": 65_536}
FIXED_OR_TOLD: tuple[dict[str, Any], ...] = (
    {"sketch_impl": "set"},
    {"sketch_impl": "theta", "sketch_k": 65_536, "expected_users": 1_000_000},
    {**SAMPLED, "expected_users": 1_000_000},
)
"""Settings under which no first threshold is ever searched."""


def threshold_of(**overrides: Any) -> int | None:
    """The threshold of a first release."""
    return sampling_threshold(Settings(**overrides), NOISE, None, period="2025-01")


def first_of(path: Path, **overrides: Any) -> Workspace:
    """A folder whose first day is released with these settings."""
    workspace = open_folder(path / "drawn", mechanism="gaussian", **overrides)
    add_activity(workspace, everybody(20))
    publish_releases(workspace, ("dau", "wau", "mau"), A_DAY)
    return workspace


def lost_of(path: Path, **overrides: Any) -> Workspace:
    """A folder whose first day is charged as released and lost, with these settings."""
    workspace = open_folder(path / "lost", mechanism="gaussian", **overrides)
    with workspace.ledger.write() as connection:
        set_unaccounted(connection, [NEW_YEAR])
    assume_released(workspace, A_DAY, reason="the report of Monday shows it")
    return workspace


def spent_on(workspace: Workspace, day: date) -> object:
    """Every event charged for a day."""
    with workspace.ledger.read() as connection:
        return accounts.daily_events(connection, day, day)


class TestSamplingThreshold:
    def test_settings_fix_or_tell_it(self) -> None:
        """Exact counts take everybody, theta its own threshold, EXPECTED_USERS a share that fits the sketch."""
        exact, theta, told = (threshold_of(**chosen) for chosen in FIXED_OR_TOLD)
        assert exact == KEY_SPACE
        assert theta is not None and theta < KEY_SPACE
        assert told is not None and 0.01 < told / KEY_SPACE < 65_536 / 1_000_000

    def test_without_any_knowledge_it_has_to_be_searched(self) -> None:
        """A sampling sketch without EXPECTED_USERS has no first threshold."""
        assert threshold_of(**SAMPLED) is None

    def test_a_release_tells_it_whatever_the_settings_expect(self, tmp_path: Path) -> None:
        """After a release the threshold follows from its value, not from EXPECTED_USERS."""
        released = next(one for one in releases_of(first_of(tmp_path, **SAMPLED)) if one.metric == "dau")
        assert ReleaseResult.from_json(released.result).estimate < 100_000
        chosen = {**SAMPLED, "expected_users": 10**9, "delta": 1e-12, "advanced_delta": 1e-13}
        before = threshold_of(**chosen)
        after = sampling_threshold(Settings(**chosen), NOISE, released, period="2025-01")
        assert before is not None and after is not None and after > 100 * before

    def test_joint_noise_takes_exact_counts_only(self) -> None:
        """A month released jointly refuses a sketch and counts everybody otherwise."""
        joint = joint_gaussian(PeriodPlan(31, 3.0, 1e-6))
        assert sampling_threshold(Settings(sketch_impl="set"), joint, None, period="2025-01") == KEY_SPACE
        with pytest.raises(ConfigurationError, match="2025-01 is released jointly"):
            sampling_threshold(Settings(**SAMPLED), joint, None, period="2025-01")


class TestSearchCharge:
    @pytest.mark.parametrize("chosen", [*FIXED_OR_TOLD, SAMPLED])
    @pytest.mark.parametrize("is_first", [True, False])
    def test_a_search_is_charged_exactly_where_one_is_made(self, chosen: dict[str, Any], is_first: bool) -> None:
        """The charge says the same as the threshold."""
        is_searched = is_first and threshold_of(**chosen) is None
        assert search_charge(Settings(**chosen), is_first=is_first) == (SEARCH if is_searched else NO_EVENTS)

    @pytest.mark.parametrize("chosen", FIXED_OR_TOLD)
    def test_a_lost_day_pays_for_no_search_that_was_never_made(self, tmp_path: Path, chosen: dict[str, Any]) -> None:
        """A lost first value costs what drawing it costs: nothing for a threshold that settings decide."""
        drawn, lost = first_of(tmp_path, **chosen), lost_of(tmp_path, **chosen)
        assert {kind for _, _, kind in charges_of(drawn)} == {"release"}
        assert spent_on(lost, NEW_YEAR) == spent_on(drawn, NEW_YEAR)

    def test_a_lost_day_pays_for_the_search_that_was_made(self, tmp_path: Path) -> None:
        """Where nothing tells the first threshold, the lost value is charged with its search."""
        drawn, lost = first_of(tmp_path, **SAMPLED), lost_of(tmp_path, **SAMPLED)
        assert [kind for _, _, kind in charges_of(drawn)].count("threshold") == 3
        assert spent_on(lost, NEW_YEAR) == spent_on(drawn, NEW_YEAR)
