"""Laws of core/mechanisms/joint.py and joint_shape.py, with the figures that the documentation states."""

from __future__ import annotations

import math
from itertools import combinations_with_replacement

import numpy as np
import pytest

from dpdau_assets.core.accounting.pld import PldAccountant
from dpdau_assets.core.dp_events import VectorGaussianEvent, merge_events, repeat_event
from dpdau_assets.core.mechanisms.joint import JointGaussian, joint_gaussian
from dpdau_assets.core.mechanisms.joint_shape import UNITS, VERTICES, joint_shape
from dpdau_assets.core.mechanisms.planning import PeriodPlan
from dpdau_assets.core.mechanisms.samplers import SeededNoise
from dpdau_assets.core.probability.gaussian_dp import gaussian_mu
from dpdau_assets.errors import InternalError

DELTA = 1e-6
MONTH = ((89, -16, -4), (-16, 93, -16), (-4, -16, 94)), (16, 30, 55)


class TestShape:
    @pytest.mark.parametrize("releases", [28, 30, 31, 33])
    def test_months_share_one_shape(self, releases: int) -> None:
        """T of 28, 30, 31 and 33 get the same K and d, with r^2 = 4181 at 000 and 4037, 4034, 4131 elsewhere."""
        shape = joint_shape(releases)
        assert (shape.matrix, shape.centre) == MONTH
        assert shape.squared_radii() == (4181, 4037, 4034, 4131)
        assert shape.squared_radius == 4181

    @pytest.mark.parametrize("releases", [2, 3, 7, 60, 365, 800])
    @pytest.mark.one_is_enough
    def test_no_neighbouring_shape_is_better(self, releases: int) -> None:
        """Moving the centre or turning the metric a little never gives less noise, to 1 % of rounding: optimal for
        any T."""
        shape = joint_shape(releases)
        root, centre = np.array(shape.matrix) / UNITS, np.linalg.solve(np.array(shape.matrix), np.array(shape.centre))
        best = _deviation(root, centre, releases)
        rng = np.random.default_rng(releases)
        for scale in (0.003, 0.03, 0.1):
            for _ in range(60):
                turned = root + scale * rng.normal(size=(3, 3))
                moved = centre + scale * rng.normal(size=3)
                assert _deviation(turned, moved, releases) > 0.99 * best

    def test_one_release_has_no_shape(self) -> None:
        """A single release has nothing to share an offset with."""
        with pytest.raises(InternalError):
            joint_shape(1)

    def test_the_vertices_are_all_that_a_user_can_add(self) -> None:
        """Whoever counts on the day counts in the week, and whoever counts in the week counts in the month."""
        possible = {(d, w, m) for d in (0, 1) for w in (0, 1) for m in (0, 1) if d <= w <= m}
        assert set(VERTICES) == possible


def _deviation(root: np.ndarray, centre: np.ndarray, releases: int) -> float:
    """Total standard deviation at mu = 1 of a real shape, scaled so that its radius is 1."""
    radius = max(float(np.linalg.norm(root @ (np.array(vertex) - centre))) for vertex in VERTICES)
    inverse = np.linalg.inv(root)
    return radius * math.sqrt(releases * float((inverse**2).sum())) + float(np.linalg.norm(centre))


class TestFigures:
    @pytest.mark.parametrize(
        ("releases", "fresh", "shared"), [(28, 1535.9, 12.500), (30, 1586.7, 12.693), (31, 1611.5, 12.786)]
    )
    def test_noise_at_one(self, releases: int, fresh: float, shared: float) -> None:
        """At (1, 1e-6) sg and sh are as documented."""
        mechanism = joint_gaussian(PeriodPlan(releases, 1.0, DELTA))
        assert mechanism.release_stddev == pytest.approx(fresh, abs=0.06)
        assert mechanism.shared_stddev == pytest.approx(shared, abs=6e-4)

    def test_errors_at_one(self) -> None:
        """At (1, 1e-6) and T = 30 the errors are 19.2, 19.8 and 19.8 users, where independent noise has 40.1 each."""
        errors = joint_gaussian(PeriodPlan(30, 1.0, DELTA)).noise_stddevs()
        assert errors == pytest.approx((19.2, 19.8, 19.8), abs=0.05)
        assert max(errors) <= 20
        independent = math.sqrt(3 * 30) / gaussian_mu(1.0, DELTA)
        assert independent == pytest.approx(40.1, abs=0.05)

    @pytest.mark.parametrize("releases", [30, 33])
    def test_errors_at_the_default_cap(self, releases: int) -> None:
        """At 5.9 a month they are about 3.95 each at T = 30 and stay below 4.2 with the reserve of a long month."""
        errors = joint_gaussian(PeriodPlan(releases, 5.9, DELTA)).noise_stddevs()
        assert max(errors) < (4.0 if releases == 30 else 4.2)


class TestLoss:
    @pytest.mark.parametrize(("releases", "cap"), [(30, 1.0), (33, 5.9), (2, 3.0)])
    def test_everything_planned_fits_and_one_more_does_not(self, releases: int, cap: float) -> None:
        """Opening and all T releases stay within the cap and use 99.9 % of it; a release more exceeds it."""
        mechanism = joint_gaussian(PeriodPlan(releases, cap, DELTA))
        losses = [
            PldAccountant()
            .bound(merge_events(mechanism.shared_noise_charge(), repeat_event(mechanism.event(), count)), delta=DELTA)
            .epsilon
            for count in (releases, releases + 1)
        ]
        assert 0.999 * cap < losses[0] <= cap < losses[1]

    @pytest.mark.parametrize("vertex", VERTICES)
    @pytest.mark.one_is_enough
    def test_the_exact_discrete_loss_of_each_pattern_is_within_the_event(self, vertex: tuple[int, int, int]) -> None:
        """The lattice loss of a user at `vertex` in all 30 releases, coordinate by coordinate, is below the event's."""
        from dp_accounting.pld import privacy_loss_distribution

        mechanism = joint_gaussian(PeriodPlan(30, 1.0, DELTA))
        shape = mechanism.shape
        moves = [abs(m - c) for m, c in zip(shape.apply(vertex), shape.centre, strict=True)]
        composed = privacy_loss_distribution.identity()
        for move in moves:
            if move:
                single = privacy_loss_distribution.from_discrete_gaussian_mechanism(
                    mechanism.release_stddev, sensitivity=move, use_connect_dots=True
                )
                composed = composed.compose(single.self_compose(30))
        stated = PldAccountant().bound(repeat_event(mechanism.event(), 30), delta=DELTA).epsilon
        # both are pessimistic roundings on a grid of 1e-4; three coordinates round thirty times each
        assert composed.get_epsilon_for_delta(DELTA) <= stated + 5e-4

    def test_no_pattern_of_days_costs_more(self) -> None:
        """With u_t = K v_t the change of the draws and P their precision, u' P u is at most the squared mu of the
        charges for random and for constant patterns, and comes within 5 % of it."""
        mechanism = joint_gaussian(PeriodPlan(30, 1.0, DELTA))
        shape, rng = mechanism.shape, np.random.default_rng(8)
        fresh, shared = mechanism.release_stddev**2, mechanism.shared_stddev**2
        charged = 30 * shape.squared_radius / fresh + 1 / shared
        direction = np.tile(np.array(shape.centre, dtype=np.float64), 30)
        precision = np.linalg.inv(fresh * np.eye(90) + shared * np.outer(direction, direction))
        moves = np.array([shape.apply(vertex) for vertex in VERTICES], dtype=np.float64)
        mixes = [rng.choice(4, size=30, p=rng.dirichlet(np.ones(4))) for _ in range(400)]
        mixes += [np.full(30, vertex) for vertex in range(4)]
        losses = [float(moves[mix].ravel() @ precision @ moves[mix].ravel()) for mix in mixes]
        assert 0.95 * charged < max(losses) <= charged * (1 + 1e-12)

    def test_brackets_and_shared_noise_give_the_release_back(self) -> None:
        """K V = (K V - d N) + d N for any mix of users, and each user moves the bracket by at most r."""
        shape = joint_shape(30)
        for users in combinations_with_replacement(VERTICES, 3):
            counts = tuple(int(total) for total in np.sum(users, axis=0))
            brackets = np.sum([np.array(shape.apply(user)) - np.array(shape.centre) for user in users], axis=0)
            assert (brackets + 3 * np.array(shape.centre) == np.array(shape.apply(counts))).all()  # type: ignore[arg-type]

    def test_the_vector_event_refuses_noise_it_cannot_account_for(self) -> None:
        """Below a stddev of 4 the continuous comparison is not made."""
        with pytest.raises(InternalError):
            VectorGaussianEvent(3.9, 1)


class TestDraws:
    def draw_month(self, mechanism: JointGaussian, key: bytes, counts: tuple[int, int, int]) -> np.ndarray:
        source = SeededNoise(key)
        shared_noise = mechanism.draw_shared_noise(source)
        draws = [mechanism.draw(counts, source, shared_noise=shared_noise) for _ in range(2)]
        return np.array([mechanism.decode(drawn) for drawn in draws])

    def test_decoding_is_unbiased_with_the_stated_error(self) -> None:
        """400 simulated pairs of days: mean error within 4 standard errors of 0, deviation within 10 % of stated."""
        mechanism = joint_gaussian(PeriodPlan(30, 1.0, DELTA))
        errors = np.concatenate(
            [
                self.draw_month(mechanism, b"joint-unit-test-%05d" % number, (500, 900, 2000)) - [500, 900, 2000]
                for number in range(400)
            ]
        )
        stated = np.array(mechanism.noise_stddevs())
        assert (np.abs(errors.mean(axis=0)) < 4 * stated / 20).all()
        assert errors.std(axis=0) == pytest.approx(stated, rel=0.1)

    def test_without_noise_the_counts_come_back(self) -> None:
        """Decoding K V gives V."""
        mechanism = joint_gaussian(PeriodPlan(30, 1.0, DELTA))
        assert mechanism.decode(mechanism.shape.apply((12, 345, 6789))) == pytest.approx((12, 345, 6789))

    def test_no_shared_noise_no_draw(self) -> None:
        """Without its offset nothing is drawn."""
        with pytest.raises(InternalError):
            joint_gaussian(PeriodPlan(30, 1.0, DELTA)).draw((1, 1, 1), SeededNoise(b"k" * 16), shared_noise=None)
