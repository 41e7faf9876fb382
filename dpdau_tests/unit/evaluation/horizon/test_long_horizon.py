"""Laws of evaluation/long_horizon.py and horizon_bound.py: the stated errors, and simulated horizons against them.

The mean square of a horizon of 30 days that share noise has a relative standard deviation below 0.58. Over 100 horizons
a root mean square then lies within 4 x 0.58 / (2 sqrt 100) = 11.6 % of the true one; 0.8 of the stated noise does not.
"""

from __future__ import annotations

import math
from datetime import date

import numpy as np
import pytest

from dpdau_assets.core.accounting.gdp import GdpAccountant
from dpdau_assets.core.dp_events import repeat_event
from dpdau_assets.core.horizon.flip_patterns import PatternSet
from dpdau_assets.core.probability.gaussian_dp import gaussian_mu
from dpdau_assets.errors import ConfigurationError, UsageError
from dpdau_assets.evaluation.horizon import horizon_bound, long_horizon
from dpdau_assets.evaluation.horizon.enforcement import CountingRules, counted_series, simulated_entries
from dpdau_assets.evaluation.horizon.horizon_bound import (
    all_series,
    best_weighting,
    cyclic_series,
    unavoidable_error,
)
from dpdau_assets.evaluation.horizon.long_horizon import (
    CASES,
    DECODINGS,
    RUNNERS,
    differences_of,
    long_horizon_table,
    run_fitted,
    run_square_root,
    run_tree,
)
from dpdau_assets.evaluation.streams.simulate import SimulatedStream

AT_ONE = {"epsilon": 1.0, "delta": 1e-6}
MONTH = PatternSet(30, 30)
COUNTS = np.arange(1000, 1030)
HORIZONS, BAND = 100, 0.116


def key(number: int) -> bytes:
    return b"long-horizon-%08d" % number


class TestTable:
    def test_states_the_errors_of_a_month(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """30 days at (1, 1e-6): square root 11.8 natural and 13.9 with an erasure and return, 23.1 independent, a bound
        of 10.03; the tree, which draws no node that ends after the horizon, 23.1 and 28.3 plain."""
        monkeypatch.setattr(long_horizon, "CASES", (CASES[0],))
        (natural,) = long_horizon_table()
        assert natural["independent"] == pytest.approx(23.1, abs=0.05)
        assert natural["square_root"] == pytest.approx(11.8, abs=0.05)
        assert natural["bound"] == pytest.approx(10.03, abs=0.005)
        assert natural["flips"] == 3
        assert [natural[f"tree_{decode}"] for decode in DECODINGS] == pytest.approx([23.1, 18.8, 15.3], abs=0.05)
        assert natural["square_root_gap"] == 0
        with_return = run_square_root(COUNTS, patterns=PatternSet(30, 30, 1), key=key(0), **AT_ONE)
        assert math.sqrt((with_return.stddevs**2).mean()) == pytest.approx(13.9, abs=0.05)
        with_return = run_tree(COUNTS, patterns=PatternSet(30, 30, 1), key=key(0), decode="plain", **AT_ONE)
        assert math.sqrt((with_return.stddevs**2).mean()) == pytest.approx(28.3, abs=0.05)

    @pytest.mark.slow
    def test_states_the_errors_of_a_year(self) -> None:
        """365 days: independent 80.7; square root 36.0 from a certificate with a gap below 0.6 %, whose best series
        gives 35.9; no error is below the bound, and the enforced set costs more than the natural one."""
        *_, natural, enforced = long_horizon_table()
        assert (natural["flips"], enforced["flips"]) == (25, 26)
        assert natural["independent"] == pytest.approx(80.7, abs=0.05)
        assert natural["square_root"] == pytest.approx(36.0, abs=0.05)
        assert natural["square_root"] / math.sqrt(1 + natural["square_root_gap"]) == pytest.approx(35.9, abs=0.05)
        assert 0 < natural["square_root_gap"] < 0.006
        errors = ["square_root", *(f"tree_{decode}" for decode in DECODINGS)]
        for row in (natural, enforced):
            assert 24 < row["bound"] < min(row[name] for name in errors)
        assert all(natural[name] < enforced[name] for name in errors)


class TestBound:
    def test_a_single_day_and_any_pattern(self) -> None:
        """One day: independent noise is best. Any series of T days: at most what correlated noise reaches,
        (1 + sqrt T) / (2 mu), and at least what equal weights prove, (T - 1 + sqrt(T + 1)) / (2 sqrt T mu)."""
        mu = gaussian_mu(1.0, 1e-6)
        assert unavoidable_error(PatternSet(1, 1), **AT_ONE) == pytest.approx(1 / mu)
        bound, reached = unavoidable_error(PatternSet(8, 1), **AT_ONE), (1 + math.sqrt(8)) / (2 * mu)
        assert (7 + 3) / (2 * math.sqrt(8) * mu) < bound < reached
        assert bound > 0.99 * reached

    def test_every_weighting_is_below_what_some_noise_reaches(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Cycles alone give a lower bound than all series do, and both lie below the square root's error."""
        patterns = PatternSet(16, 5)
        full = unavoidable_error(patterns, **AT_ONE)
        monkeypatch.setattr(horizon_bound, "FEW_DAYS", 0)
        part = best_weighting.__wrapped__(patterns).root_trace / (4 * gaussian_mu(1.0, 1e-6))
        run = run_square_root(range(16), patterns=patterns, key=key(0), **AT_ONE)
        assert part <= full * (1 + 1e-3)
        assert full < math.sqrt((run.stddevs**2).mean())

    @pytest.mark.parametrize("find", [all_series, cyclic_series])
    def test_weights_only_allowed_series(self, find) -> None:
        """Every series weighted is one of the patterns, and none is weighted twice."""
        patterns = PatternSet(20, 9) if find is all_series else PatternSet(90, 30, 1)
        rows = [tuple(int(value) for value in row) for row in find(patterns)]
        assert all(patterns.allows(row) for row in rows)
        assert len(set(rows)) == len(rows) > 10


class TestRuns:
    @pytest.mark.parametrize("name", RUNNERS)
    @pytest.mark.one_is_enough
    def test_errors_are_as_stated(self, name: str) -> None:
        """100 simulated months: unbiased, of the stated size within 11.6 %; a size of 0.8 is rejected."""
        runs = [RUNNERS[name](COUNTS, patterns=MONTH, key=key(number), **AT_ONE) for number in range(HORIZONS)]
        errors = np.array([run.estimates - COUNTS for run in runs])
        stated = runs[0].stddevs
        assert (np.abs(errors.mean(axis=0)) < 4.5 * stated / math.sqrt(HORIZONS)).all()
        ratio = math.sqrt((errors**2).mean() / (stated**2).mean())
        assert ratio == pytest.approx(1, abs=BAND)
        assert 0.8 * ratio != pytest.approx(1, abs=BAND)
        assert (errors**2).mean(axis=0)[-1] == pytest.approx(stated[-1] ** 2, rel=4 * math.sqrt(2 / HORIZONS))

    @pytest.mark.parametrize("name", RUNNERS)
    def test_a_run_costs_the_whole_horizon_once(self, name: str) -> None:
        """Its one event is (epsilon, delta), and rests on the certificate of its patterns."""
        run = RUNNERS[name](COUNTS, patterns=MONTH, key=key(1), **AT_ONE)
        loss = GdpAccountant().bound(repeat_event(run.event, 1), delta=1e-6).epsilon
        assert loss == pytest.approx(1.0, rel=1e-9)
        assert run.event.squared_sensitivity == run.certificate.squared_sensitivity

    def test_fitted_noise_comes_near_the_bound(self) -> None:
        """Natural stays of 30 days: 10.0 users, within 0.1 % of the bound, exactly certified; 100 draws confirm it."""
        runs = [run_fitted(COUNTS, patterns=MONTH, key=key(number), **AT_ONE) for number in range(HORIZONS)]
        stated = math.sqrt((runs[0].stddevs ** 2).mean())
        assert unavoidable_error(MONTH, **AT_ONE) < stated < 1.001 * unavoidable_error(MONTH, **AT_ONE)
        assert runs[0].certificate.is_exact
        errors = np.array([run.estimates - COUNTS for run in runs])
        assert math.sqrt((errors**2).mean()) == pytest.approx(stated, rel=BAND)
        with pytest.raises(ConfigurationError):
            run_fitted(range(31), patterns=PatternSet(31, 30), key=key(0), **AT_ONE)

    def test_a_key_gives_one_draw(self) -> None:
        """The same key repeats a run, another does not."""
        runs = [run_tree(COUNTS, patterns=MONTH, key=key(number), **AT_ONE).estimates for number in (1, 1, 2)]
        assert (runs[0] == runs[1]).all()
        assert (runs[0] != runs[2]).any()

    def test_decodings_share_the_draw(self) -> None:
        """Another decoding changes what is made of the same nodes; an unknown one is refused with the names."""
        plain, smoothed = (
            run_tree(COUNTS, patterns=MONTH, key=key(1), decode=decode, **AT_ONE) for decode in ("plain", "smoothed")
        )
        assert plain.certificate == smoothed.certificate
        assert plain.estimates[0] != smoothed.estimates[0]
        with pytest.raises(UsageError, match="sharp") as refused:
            run_tree(COUNTS, patterns=MONTH, key=key(1), decode="sharp", **AT_ONE)
        assert "smoothed" in refused.value.hint

    def test_levels_can_be_tuned(self) -> None:
        """Half the units for the leaves: their share of the loss falls, and the sensitivity is that of the new tree."""
        units = (32, 64, 64, 64, 64)
        run = run_tree(COUNTS, patterns=MONTH, key=key(1), level_units=units, **AT_ONE)
        even = run_tree(COUNTS, patterns=MONTH, key=key(1), **AT_ONE)
        assert run.certificate.squared_sensitivity < even.certificate.squared_sensitivity
        assert run.stddevs[0] > even.stddevs[0]
        assert run.stddevs[15] < even.stddevs[15]

    def test_an_enforced_stream_runs_through(self) -> None:
        """Simulated entries, counted under the rules, summed, released: the errors stay within five deviations."""
        rules = CountingRules(30)
        stream = SimulatedStream(seed=9, users=500, p_active=0.05, delete_rate=0.05)
        series = counted_series(simulated_entries(stream, date(2026, 3, 1), rules, late_share=0.1), rules).sum(axis=0)
        for runner in RUNNERS.values():
            run = runner(series, patterns=rules.patterns, key=key(3), **AT_ONE)
            assert (np.abs(run.estimates - series) < 5 * run.stddevs).all()

    def test_differences_sum_to_the_counts(self) -> None:
        """The first difference is the first count."""
        assert differences_of([5, 5, 9, 2]) == [5, 0, 4, -7]
