"""The first sampling threshold of a metric when nobody stated an expected size: one AboveThreshold run.

Belongs here: that one algorithm and its charge. Does not belong here: later thresholds, which depend on published
values only and cost nothing (`release`).

Level j keeps the keys below 2^(64 - j). The counts min(k, #kept), for hll the numbers of buckets that the kept keys
hit, all grow by 0 or 1 when a user is added. So they are monotone queries of sensitivity 1, and the noisy threshold and
each noisy answer may spend 1/40 each: 0.05-DP in total, however many levels are looked at.

Reference: Lyu, Su, Li (2017), arXiv 1603.01699, Algorithm 7 with c = 1 and its theorem for monotonic queries; the proof
uses only the ratio bound of the noise, which discrete Laplace noise has on integer counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dpdau_assets.core.dp_events import PureDpEvent
from dpdau_assets.core.mechanisms.interface import NoiseSource
from dpdau_assets.core.sketches.protocol import KEY_SPACE as KEY_SPACE  # re-exported to callers
from dpdau_assets.errors import ConfigurationError

NOISE_SCALE = 40.0
"""Scale of the noise on the threshold and on each level, in users."""
ABOVE_THRESHOLD_EVENT = PureDpEvent(0.05)
"""The charge of one run, whatever its outcome: 1/40 for the threshold plus 1/40 for the answers."""
SMALLEST_LEVEL = 63
SMALLEST_SKETCH = 4096
"""Below this k, noise of scale 40 could hide half a sketch: a false yes at an empty level needs a draw of k/2."""


@dataclass(frozen=True, slots=True)
class AboveThresholdOutcome:
    """The public result of a run, stored with its charge.

    Attributes:
        threshold: Keys below it are counted; a power of two from 2 to 2^64.
        level: The level that said yes; 0 also when none did.
    """

    threshold: int
    level: int

    def to_json(self) -> dict[str, int]:
        """The outcome as stored with the charge."""
        return {"threshold": self.threshold, "level": self.level}


def require_first_threshold_possible(k: int) -> None:
    """Refuses a sketch too small for an AboveThreshold run.

    Args:
        k: Keys that a sketch retains; public.

    Raises:
        ConfigurationError: k is below 4096.
    """
    if k < SMALLEST_SKETCH:
        raise ConfigurationError(
            f"SKETCH_K={k} is too small to find the first sampling threshold privately (needs {SMALLEST_SKETCH})",
            hint=f"set EXPECTED_USERS to a public estimate, SKETCH_K to {SMALLEST_SKETCH} or more, or SKETCH_IMPL=set",
        )


def find_first_threshold(count_below: Callable[[int], int], source: NoiseSource, *, k: int) -> AboveThresholdOutcome:
    """Returns the smallest level whose noisy count reaches noisy k/2; all keys are kept if no level does.

    0.05-DP; the caller charges `ABOVE_THRESHOLD_EVENT` in the transaction that stores the outcome. A level with n
    kept keys is passed over or taken wrongly only if two draws differ by |n - k/2|, with probability below
    exp(-|n - k/2| / 80).

    Args:
        count_below: For a power of two T gives #{key < T} among the union's keys, exact up to k, or the number of
            buckets that they hit (sensitive).
        source: Where the randomness comes from.
        k: Keys that the sketch retains, or its buckets, >= 4096; public.

    Raises:
        ConfigurationError: k is below 4096.
    """
    require_first_threshold_possible(k)
    noisy_half = k // 2 + source.discrete_laplace(NOISE_SCALE)
    for level in range(SMALLEST_LEVEL, -1, -1):
        threshold = KEY_SPACE >> level
        if min(k, count_below(threshold)) + source.discrete_laplace(NOISE_SCALE) >= noisy_half:
            return AboveThresholdOutcome(threshold, level)
    return AboveThresholdOutcome(KEY_SPACE, 0)
