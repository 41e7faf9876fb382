"""Laws of core/joint_release.py."""

from __future__ import annotations

import json
from datetime import date

import pytest

from dpdau_assets.core.mechanisms.joint import joint_gaussian
from dpdau_assets.core.mechanisms.planning import PeriodPlan
from dpdau_assets.core.mechanisms.samplers import SecureNoise, SeededNoise
from dpdau_assets.core.quantities import METRICS
from dpdau_assets.core.release.joint_release import make_joint_results
from dpdau_assets.core.release.release import ReleaseResult, next_threshold, threshold_for

MECHANISM = joint_gaussian(PeriodPlan(30, 1.0, 1e-6))


def results_of(drawn: tuple[int, int, int], *, seeded: bool = False) -> dict[str, ReleaseResult]:
    source = SeededNoise(b"k" * 16) if seeded else SecureNoise()
    lengths = {"dau": 1, "wau": 7, "mau": 30}
    found = make_joint_results(
        drawn,
        MECHANISM,
        source=source,
        day=date(2025, 11, 3),
        window_days=lengths,  # type: ignore[arg-type]
        days_in_window={"dau": 1, "wau": 7, "mau": 12},
    )
    return dict(found)


class TestJointResults:
    def test_decode_what_was_drawn(self) -> None:
        """K V without noise gives V, each with its own window and its own number of the draw."""
        drawn = MECHANISM.shape.apply((100, 300, 1000))
        found = results_of(drawn)
        assert [found[metric].estimate for metric in METRICS] == [100, 300, 1000]
        assert tuple(found[metric].drawn for metric in METRICS) == drawn
        assert [found[metric].window_complete for metric in METRICS] == [True, True, False]
        assert {found[metric].vector for metric in METRICS} == {drawn}

    def test_one_decimal_and_never_below_zero(self) -> None:
        """Values are shown to a tenth and cut at 0 with their interval."""
        found = results_of((30_000, -9000, 50))
        assert all(round(result.estimate, 1) == result.estimate >= 0 for result in found.values())
        assert found["wau"].estimate == 0
        assert found["wau"].lower_95 == 0 <= (found["wau"].upper_95 or 0)

    def test_intervals_are_those_of_the_noise(self) -> None:
        """Each holds the whole users within 1.96 standard deviations."""
        found = results_of(MECHANISM.shape.apply((1000, 3000, 10_000)))
        reach = [((result.upper_95 or 0) - result.lower_95) / 2 for result in found.values()]
        assert reach == [37, 38, 38]
        assert [result.noise_stddev for result in found.values()] == list(MECHANISM.noise_stddevs())

    def test_lead_to_thresholds_by_their_estimate(self) -> None:
        """A sketch that follows a joint month samples for the users that were estimated, not for a mixed number."""
        found = results_of(MECHANISM.shape.apply((100_000, 300_000, 1_000_000)))
        assert next_threshold(found["mau"], k=4096) == threshold_for(1_000_000, k=4096)

    def test_survive_text(self) -> None:
        """A result written as JSON reads back equal, vector included."""
        for result in results_of((1, 2, 3)).values():
            assert ReleaseResult.from_json(json.loads(json.dumps(result.to_json()))) == result

    @pytest.mark.parametrize("seeded", [False, True])
    def test_say_what_they_cost(self, seeded: bool) -> None:
        """The release's own event states its loss, and seeded noise none."""
        found = results_of((1, 2, 3), seeded=seeded)
        assert {result.epsilon_used for result in found.values()} == {None if seeded else MECHANISM.epsilon}
        assert {result.private for result in found.values()} == {not seeded}
