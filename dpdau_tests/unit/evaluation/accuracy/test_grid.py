"""Which combinations are evaluated, and what a budget means for each mechanism."""

from __future__ import annotations

import pytest

from dpdau_assets.core.accounting.snapshot import fits
from dpdau_assets.core.dp_events import repeat_event
from dpdau_assets.core.mechanisms.calibration import mechanism_from
from dpdau_assets.core.sketches.apache import is_installed
from dpdau_assets.evaluation.accuracy.grid import (
    AS_SET,
    LONG_HORIZON,
    RELEASED,
    SKETCHES,
    Budget,
    Cell,
    composed_cap,
    filling_epsilon,
    grid,
    privacy_of,
)
from dpdau_assets.settings.combinations import SKETCHES_OF_MECHANISM
from dpdau_assets.settings.settings import Settings

SETTINGS = Settings()
ACCOUNTING = {"delta": 1e-6, "advanced_delta": 1e-7, "rdp_orders": SETTINGS.rdp_orders}


class TestGrid:
    def test_every_pair_is_evaluated_or_refused_with_a_reason(self) -> None:
        """Mechanisms times sketches: the supported ones are played, each other one has one line that says why."""
        cells, refused = grid((*RELEASED, *LONG_HORIZON), SKETCHES, [AS_SET], sketch_k=4096)
        played = {(cell.mechanism, cell.sketch) for cell in cells}
        supported = {(name, sketch) for name, sketches in SKETCHES_OF_MECHANISM.items() for sketch in sketches}
        assert played == {pair for pair in supported if pair[1] != "theta" or is_installed()}
        assert len(played) + len(refused) == 6 * 4
        assert all(each.reason and "\n" not in each.reason for each in refused)

    def test_the_long_horizon_is_refused_for_its_own_reason(self) -> None:
        """tree and matrix are refused for what they rely on, not for their sketch."""
        _, refused = grid(LONG_HORIZON, ("set",), [AS_SET], sketch_k=4096)
        assert all("late events and erasures" in each.reason for each in refused)

    def test_a_loss_per_release_is_for_independent_noise(self) -> None:
        """Noise that fills a cap is left out where a budget is stated per release."""
        cells, _ = grid(RELEASED, ("set",), [Budget("epsilon", 0.3)], sketch_k=4096)
        assert [cell.mechanism for cell in cells] == ["gaussian", "laplace"]

    def test_a_size_that_hll_cannot_have_is_refused(self) -> None:
        """The same sizes are refused as at start."""
        cells, refused = grid(("gaussian",), ("set", "hll"), [AS_SET], sketch_k=5000)
        assert [cell.sketch for cell in cells] == ["set"]
        assert "power of two" in refused[0].reason


class TestBudget:
    @pytest.mark.parametrize(("mechanism", "cap"), [("gaussian", 3.0), ("laplace", 1.0)])
    def test_a_cap_is_filled(self, mechanism: str, cap: float) -> None:
        """The planned releases fit under the cap; with one percent more each they do not."""
        epsilon = filling_epsilon(mechanism, cap, releases=33, **ACCOUNTING)

        def is_within(loss: float) -> bool:
            return fits(
                repeat_event(mechanism_from(mechanism, epsilon=loss, delta=1e-6).event(), 33), cap, **ACCOUNTING
            )

        assert is_within(epsilon)
        assert not is_within(1.01 * epsilon)

    def test_joint_noise_gets_what_three_caps_compose_to(self) -> None:
        """The default caps of 3, 3 and 3.5 compose to 5.91: between three caps of 3 and three of 3.5."""
        assert composed_cap(3.0, delta=1e-6) < 5.91 < composed_cap(3.5, delta=1e-6)

    def test_budgets_change_what_they_say_and_nothing_else(self) -> None:
        """As set: no epsilon, no cap. A cap: all caps. An epsilon: the metrics' epsilons."""
        as_set = privacy_of(Cell("laplace", "set", AS_SET), SETTINGS, releases=33)
        assert as_set == {"mechanism": "laplace", "sketch_impl": "set"}
        capped = privacy_of(Cell("correlated", "kmv", Budget("cap", 2.0)), SETTINGS, releases=33)
        assert capped["dau_budget_total"] == capped["mau_budget_total"] == 2.0
        assert not any(name.startswith("epsilon") for name in capped)
        single = privacy_of(Cell("gaussian", "set", Budget("epsilon", 0.1)), SETTINGS, releases=33)
        assert {single[f"epsilon_{metric}"] for metric in ("dau", "wau", "mau")} == {0.1}
        assert not any("budget" in name for name in single)
