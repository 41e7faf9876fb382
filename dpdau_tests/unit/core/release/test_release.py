"""Laws of core/release.py."""

from __future__ import annotations

import json
import math
from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpdau_assets import __version__
from dpdau_assets.core.accounting.snapshot import BudgetSnapshot, budget_snapshot
from dpdau_assets.core.dp_events import repeat_event
from dpdau_assets.core.mechanisms.calibration import mechanism_from
from dpdau_assets.core.mechanisms.correlated import correlated_gaussian
from dpdau_assets.core.mechanisms.planning import PeriodPlan
from dpdau_assets.core.mechanisms.samplers import SecureNoise, SeededNoise
from dpdau_assets.core.release.release import (
    EXPECTED_GROWTH,
    ReleaseResult,
    body,
    estimate_of,
    is_saturated,
    make_result,
    next_threshold,
    require_releasable_sketch,
    threshold_for,
)
from dpdau_assets.core.sketches.protocol import KEY_SPACE
from dpdau_assets.errors import ConfigurationError, DataError

K = 4096
GAUSSIAN = mechanism_from("gaussian", epsilon=0.3, delta=1e-6)


def result_of(drawn: int, **facts: Any) -> ReleaseResult:
    defaults: dict[str, Any] = {
        "source": SecureNoise(),
        "metric": "mau",
        "day": date(2025, 11, 3),
        "window_days": 30,
        "days_in_window": 30,
        "sketch_impl": "set",
        "sketch_k": None,
    }
    return make_result(drawn, GAUSSIAN, **{**defaults, **facts})


def kmv_result(drawn: int, threshold: int, *, k: int = K) -> ReleaseResult:
    return result_of(drawn, sketch_impl="kmv", sketch_k=k, threshold=threshold)


def hll_result(drawn: int, threshold: int, *, m: int = K) -> ReleaseResult:
    return result_of(drawn, sketch_impl="hll", sketch_k=m, threshold=threshold)


def budget() -> BudgetSnapshot:
    events = repeat_event(GAUSSIAN.event(), 3)
    return budget_snapshot(
        "mau",
        date(2025, 11, 3),
        3.5,
        1e-6,
        (2.0, 8.0),
        1e-7,
        events=events,
        trailing_events=events,
        lifetime_events=events,
        release_count=3,
        next_event=GAUSSIAN.event(),
    )


class TestEstimate:
    def test_counts_are_published_as_drawn(self) -> None:
        """Without sampling the estimate is the draw, and 0 for a negative draw; the draw itself is kept."""
        assert result_of(1234).estimate == 1234
        assert (result_of(-7).estimate, result_of(-7).drawn) == (0, -7)

    @given(drawn=st.integers(-(10**6), 10**6), threshold=st.integers(2**40, KEY_SPACE))
    def test_samples_are_scaled_to_the_nearest_user(self, drawn: int, threshold: int) -> None:
        """The estimate is drawn / theta to half a user, in exact arithmetic, and never negative."""
        estimate = estimate_of(drawn, threshold=threshold)
        if drawn <= 0:
            assert estimate == 0
        else:
            assert abs(2 * (estimate * threshold - drawn * KEY_SPACE)) <= threshold

    def test_interval_surrounds_the_estimate(self) -> None:
        """For set and kmv, with and without sampling, lower <= estimate <= upper."""
        for result in (result_of(5), result_of(-60), kmv_result(2000, KEY_SPACE // 3), kmv_result(-3, KEY_SPACE // 3)):
            assert result.upper_95 is not None
            assert 0 <= result.lower_95 <= result.estimate <= result.upper_95


class TestSaturation:
    def test_is_recognised_in_999_of_1000(self) -> None:
        """A full sketch's noisy count is flagged with probability at least 99.9 %, by the exact pmf."""
        smallest, noise = GAUSSIAN.noise_pmf()
        draws = K + smallest + np.arange(len(noise))
        flagged = np.array([is_saturated(int(drawn), GAUSSIAN, k=K) for drawn in draws])
        assert 0.999 <= noise[flagged].sum() < 0.9999

    def test_publishes_a_lower_bound(self) -> None:
        """A saturated value has no upper end, and says that it is a lower bound."""
        result = kmv_result(K, KEY_SPACE // 4)
        assert result.is_lower_bound
        assert result.upper_95 is None
        assert result.lower_95 <= result.estimate

    def test_exact_counts_are_never_saturated(self) -> None:
        """`set` keeps every key, so no value of it is a lower bound."""
        assert not result_of(10**9).is_lower_bound


class TestThreshold:
    @pytest.mark.parametrize("users", [1, 5000, 10**6, 3 * 10**9])
    @pytest.mark.parametrize("k", [256, K, 65536])
    def test_leaves_room_for_growth(self, users: int, k: int) -> None:
        """Users grown as expected keep k - 4 sqrt k keys on average, or everybody is kept and fits."""
        threshold = threshold_for(users, k=k)
        kept = users * (1 + EXPECTED_GROWTH) * threshold / KEY_SPACE
        assert 1 <= threshold <= KEY_SPACE
        if threshold < KEY_SPACE:
            assert kept == pytest.approx(k - 4 * k**0.5, rel=1e-6)
        else:
            assert kept <= k - 4 * k**0.5

    def test_follows_the_previous_value(self) -> None:
        """An unremarkable release sets the next threshold from its own value."""
        previous = kmv_result(2500, KEY_SPACE // 100)
        assert next_threshold(previous, k=K) == threshold_for(250_000, k=K)

    def test_halves_after_saturation(self) -> None:
        """A lower bound says nothing about the size, so the threshold halves, down to 1."""
        assert next_threshold(kmv_result(K, KEY_SPACE // 8), k=K) == KEY_SPACE // 16
        assert next_threshold(kmv_result(K, 1), k=K) == 1

    @pytest.mark.parametrize("drawn", [-20, 0, 1, K // 4 - 1])
    def test_doubles_when_starved(self, drawn: int) -> None:
        """Below k / 4 keys, noise and negative draws included, it doubles, up to everything."""
        assert next_threshold(kmv_result(drawn, KEY_SPACE // 8), k=K) == KEY_SPACE // 4
        assert next_threshold(kmv_result(drawn, KEY_SPACE), k=K) == KEY_SPACE
        assert next_threshold(kmv_result(drawn, KEY_SPACE - 5), k=K) == KEY_SPACE

    def test_takes_over_from_exact_counts_and_other_sizes(self) -> None:
        """After `set`, or after a change of SKETCH_K, the previous value still sets the threshold."""
        assert next_threshold(result_of(50_000), k=K) == threshold_for(50_000, k=K)
        assert next_threshold(kmv_result(40_000, KEY_SPACE // 2, k=65536), k=K) == threshold_for(80_000, k=K)
        assert next_threshold(kmv_result(3000, KEY_SPACE // 2), k=65536) == threshold_for(6000, k=65536)

    def test_settles_within_a_few_releases(self) -> None:
        """From far too large or far too small, seeded releases of a steady metric reach a useful threshold and stay."""
        users, source, rng = 300_000, SeededNoise(b"threshold-settles"), np.random.default_rng(3)
        for threshold in (KEY_SPACE, KEY_SPACE // 10_000):
            kept = []
            for _ in range(14):
                count = min(K, int(rng.binomial(users, threshold / KEY_SPACE)))
                result = kmv_result(GAUSSIAN.draw(count, source), threshold)
                kept.append(count)
                threshold = next_threshold(result, k=K)
            assert all(K / 2 < count < K - 40 for count in kept[8:])

    def test_refuses_a_sketch_that_noise_would_hide(self) -> None:
        """A sketch with room for the noise is accepted; a tiny one is refused with what to change."""
        require_releasable_sketch(GAUSSIAN, k=1024)
        with pytest.raises(ConfigurationError) as refused:
            require_releasable_sketch(GAUSSIAN, k=64)
        assert "SKETCH_K" in refused.value.hint


class TestBuckets:
    def test_a_count_stands_for_more_users_than_buckets(self) -> None:
        """Buckets are shared, so users are -m ln(1 - c/m) / theta, and the interval holds them."""
        result = hll_result(K // 2, KEY_SPACE // 8)
        assert result.estimate == round(8 * K * math.log(2))
        assert result.upper_95 is not None
        assert result.lower_95 < result.estimate < result.upper_95
        assert result.sampling_stddev == pytest.approx(8 * K**0.5 * (1 - math.log(2) / 8) ** 0.5)
        assert result.noise_stddev == pytest.approx(16 * GAUSSIAN.noise_variance() ** 0.5)
        assert not result.is_lower_bound

    def test_theta_counts_users_and_is_never_full(self) -> None:
        """A theta release is a count over theta, whatever its size."""
        result = result_of(10 * K, sketch_impl="theta", threshold=KEY_SPACE // 4)
        assert (result.estimate, result.is_lower_bound) == (40 * K, False)

    @pytest.mark.parametrize("drawn", [K - 20, K, K + 100])
    def test_all_hit_is_a_lower_bound(self, drawn: int) -> None:
        """When the noise leaves no room for an empty bucket there is no upper end, and a finite estimate."""
        result = hll_result(drawn, KEY_SPACE // 8)
        assert (result.is_lower_bound, result.upper_95) == (True, None)
        assert result.lower_95 <= result.estimate < 8 * K * 9

    @pytest.mark.parametrize("drawn", [-40, 0, 5])
    def test_few_hit_are_cut_at_zero(self, drawn: int) -> None:
        """Negative draws are published as 0, with an interval that begins there."""
        result = hll_result(drawn, KEY_SPACE)
        assert result.estimate == max(0, drawn)
        assert result.lower_95 == 0

    @pytest.mark.parametrize("users", [1, 1000, 6591, 6593, 10**6, 3 * 10**9])
    def test_thresholds_aim_at_80_percent(self, users: int) -> None:
        """theta is the largest power of two under which at most 80 % of the buckets are hit."""
        threshold = threshold_for(users, k=K, impl="hll")
        assert threshold & (threshold - 1) == 0
        share = 1 - math.exp(-users * threshold / KEY_SPACE / K)
        assert share <= 0.8
        assert threshold == KEY_SPACE or 1 - (1 - share) ** 2 > 0.8

    def test_thresholds_follow_releases_of_any_kind(self) -> None:
        """After kmv, set or hll the next threshold is a power of two: that of the previous value, doubled or halved."""
        assert next_threshold(hll_result(K // 2, KEY_SPACE // 8), k=K, impl="hll") == KEY_SPACE // 4
        assert next_threshold(hll_result(K // 8, KEY_SPACE // 8), k=K, impl="hll") == KEY_SPACE // 4
        assert next_threshold(hll_result(K, KEY_SPACE // 8), k=K, impl="hll") < KEY_SPACE // 8
        assert next_threshold(hll_result(K, 1), k=K, impl="hll") == 1
        for previous in (kmv_result(3000, KEY_SPACE // 11), kmv_result(10, 12345), kmv_result(K, 54321), result_of(9)):
            threshold = next_threshold(previous, k=K, impl="hll")
            assert threshold & (threshold - 1) == 0
        assert next_threshold(hll_result(K // 2, KEY_SPACE // 8), k=K) == threshold_for(8 * K * math.log(2), k=K)

    def test_thresholds_settle_within_a_few_releases(self) -> None:
        """From far too large or far too small, seeded level counts of a steady metric become useful and stay so."""
        users, source, rng = 300_000, SeededNoise(b"the-levels-settle"), np.random.default_rng(4)
        for threshold in (KEY_SPACE, KEY_SPACE >> 14):
            hit = []
            for _ in range(14):
                kept = rng.binomial(users, threshold / KEY_SPACE)
                hit.append(np.unique(rng.integers(0, K, kept)).size)
                result = hll_result(GAUSSIAN.draw(hit[-1], source), threshold)
                threshold = next_threshold(result, k=K, impl="hll")
            assert all(0.5 * K < count < 0.85 * K for count in hit[8:])

    def test_refuses_buckets_that_noise_would_hide(self) -> None:
        """Noise that reaches a tenth of the buckets is refused with what to change."""
        require_releasable_sketch(GAUSSIAN, k=512, impl="hll")
        with pytest.raises(ConfigurationError) as refused:
            require_releasable_sketch(GAUSSIAN, k=256, impl="hll")
        assert "SKETCH_K" in refused.value.hint


class TestNoiseSource:
    def test_secure_noise_is_private_at_its_price(self) -> None:
        """A secure release states the loss that was asked for."""
        result = result_of(100)
        assert (result.private, result.noise_source, result.epsilon_used, result.delta) == (True, "secure", 0.3, 1e-6)

    def test_seeded_noise_claims_nothing(self) -> None:
        """A seeded release says that it is not private and states no epsilon."""
        result = result_of(100, source=SeededNoise(b"0123456789abcdef"))
        assert (result.private, result.noise_source, result.epsilon_used) == (False, "seeded", None)


class TestStoredForm:
    @pytest.mark.parametrize(
        "result", [result_of(100, revision=2), kmv_result(K, KEY_SPACE), kmv_result(-3, 12345), hll_result(99, 4)]
    )
    def test_survives_text(self, result: ReleaseResult) -> None:
        """A result written as JSON text reads back equal, 64-bit thresholds included."""
        assert ReleaseResult.from_json(json.loads(json.dumps(result.to_json(), allow_nan=False))) == result

    @pytest.mark.parametrize(
        "change", [{"version": 2}, {"day": "yesterday"}, {"day": 3}, {"surprise": 1}, {"version": None}]
    )
    def test_refuses_what_it_does_not_know(self, change: dict[str, object]) -> None:
        """A stored result of another version or shape is an error."""
        with pytest.raises(DataError):
            ReleaseResult.from_json({**result_of(1).to_json(), **change})
        with pytest.raises(DataError):
            ReleaseResult.from_json({})


class TestBody:
    def test_has_exactly_the_published_keys(self) -> None:
        """The body holds the published keys and none that tells more."""
        document = json.loads(json.dumps(body(result_of(100), budget=budget()), allow_nan=False))
        assert list(document) == [
            "metric",
            "day",
            "window_days",
            "window_complete",
            "days_in_window",
            "estimate",
            "lower_95",
            "upper_95",
            "is_lower_bound",
            "epsilon_used",
            "delta",
            "mechanism",
            "sketch_impl",
            "noise_source",
            "private",
            "revision",
            "budget_remaining",
            "budget",
            "version",
        ]
        assert document["day"] == "2025-11-03"
        assert document["version"] == __version__
        assert document["budget"]["release_count"] == 3
        assert document["budget_remaining"] == document["budget"]["budget_remaining"]

    def test_marks_an_incomplete_window(self) -> None:
        """A window that starts before the data says how many days it has."""
        document = body(result_of(100, days_in_window=4), budget=budget())
        assert (document["window_complete"], document["days_in_window"]) == (False, 4)


class TestHalfUsers:
    def correlated_result(self, drawn: int, **overrides: object) -> ReleaseResult:
        mechanism = correlated_gaussian(PeriodPlan(33, 3.0, 1e-6))
        defaults = {
            "source": SecureNoise(),
            "metric": "dau",
            "day": date(2025, 11, 3),
            "window_days": 1,
            "days_in_window": 1,
            "sketch_impl": "set",
            "sketch_k": None,
        }
        return make_result(drawn, mechanism, **{**defaults, **overrides})  # type: ignore[arg-type]

    def test_correlated_draws_are_published_in_halves(self) -> None:
        """2001 half users are 1000.5 users, 2000 are 1000; a draw below zero is 0."""
        estimates = [self.correlated_result(drawn).estimate for drawn in (2001, 2000, -5)]
        assert [(value, type(value)) for value in estimates] == [(1000.5, float), (1000, int), (0, int)]

    def test_the_interval_holds_whole_users(self) -> None:
        """Reach 20 half users around 1000.5: from 991 to 1010, as exact as around a whole number."""
        result = self.correlated_result(2001)
        assert (result.lower_95, result.upper_95) == (991, 1010)
        assert result.noise_stddev == pytest.approx(5.206, abs=1e-3)

    def test_the_next_threshold_counts_users(self) -> None:
        """A sampled count in half users leads to the threshold that the same count in users leads to."""
        threshold, kept = KEY_SPACE // 8, K // 2
        halves = self.correlated_result(2 * kept, sketch_impl="kmv", sketch_k=K, threshold=threshold)
        assert halves.estimate == 8 * kept
        assert next_threshold(halves, k=K) == next_threshold(kmv_result(kept, threshold), k=K)

    def test_saturation_is_judged_in_users(self) -> None:
        """k kept users are 2 k units: a full sketch is flagged, half of one is not."""
        full = self.correlated_result(2 * K, sketch_impl="kmv", sketch_k=K, threshold=KEY_SPACE // 8)
        half = self.correlated_result(K, sketch_impl="kmv", sketch_k=K, threshold=KEY_SPACE // 8)
        assert (full.is_lower_bound, half.is_lower_bound) == (True, False)

    def test_a_result_stored_before_there_were_halves_is_read(self) -> None:
        """Documents without the newer fields are of draws in users."""
        document = result_of(100).to_json()
        del document["units_per_user"], document["vector"]
        assert ReleaseResult.from_json(document) == result_of(100)
