"""From a noisy count to a published value, and from a published value to the next public sampling threshold.

Belongs here: post-processing, which may use the stored draw and public parameters and nothing else, so that it costs no
privacy. Does not belong here: exact counts, drawing, charging.

Sampling. A kmv release counts c = min(k, #{key < T}) on the bottom-k of the window's keys, with T fixed before the
count is read: one user changes c by at most 1, which a bottom-k *estimate* does not guarantee. theta = T / 2^64 and
the estimate is noisy c / theta. T comes from earlier releases (public), from EXPECTED_USERS (public), or once from
AboveThreshold (charged). `theta` releases count #{hash < T} with T fixed by configuration, and never fill. `hll` ones
count the buckets of m that the keys below T hit, with T a power of two found as for kmv (`core.sampling` says what such
a count stands for). `set` releases count every key: T = 2^64.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from dpdau_assets import __version__
from dpdau_assets.core.accounting.snapshot import BudgetSnapshot
from dpdau_assets.core.mechanisms.interface import Mechanism, NoiseSource
from dpdau_assets.core.mechanisms.intervals import error_stddevs, interval_95
from dpdau_assets.core.sketches.protocol import KEY_SPACE
from dpdau_assets.core.sketches.sampling import Sampling
from dpdau_assets.errors import ConfigurationError, DataError

STORED_VERSION = 1
"""Version of a stored result that this code writes."""
EXPECTED_GROWTH = 0.5
"""Growth between two releases that a threshold allows for: Monday after Sunday, but not a tenfold launch."""
SATURATION_PROBABILITY = 0.999
"""If the noise leaves a count below k with at least this probability, the count is taken as below k."""
STARVATION_SHARE = 4
"""Below k / 4 kept keys the threshold doubles."""
FULLEST_LOAD = math.log(5)
"""Largest number of users per bucket for an hll threshold: 80 % of the buckets are hit, and the error is smallest."""
ROOM_FOR_NOISE = 0.1
"""Largest noise as a share of the buckets, so that 80 % of them, grown, still differ clearly from all of them."""
BODY_FIELDS = (
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
)
"""The fields of a result that a body shows; the budget and the version follow them."""


@dataclass(frozen=True, slots=True)
class ReleaseResult:
    """One published value: the draw, what follows from it, and the public facts around it. All of it is public.

    Attributes:
        metric: `dau`, `wau` or `mau`.
        day: Last day of the window.
        window_days: Length of the window.
        window_complete: Whether every day of the window lies on or after the first day of data.
        days_in_window: Days of the window that do.
        revision: 0 for the first value of the day, then 1, 2, ...
        drawn: Noisy count before division by theta, as drawn, in units of the mechanism's draws.
        threshold: Keys below it were counted; 2^64 counts all.
        sketch_k: Most that a count can be: k of kmv, m of hll; None for `set` and `theta`.
        estimate: Distinct users, >= 0; halves under correlated noise, tenths under joint noise.
        lower_95: Lower end of the 95 % interval, >= 0.
        upper_95: Upper end; None when the sketch was saturated and nothing is known above.
        is_lower_bound: The sketch was, or may have been, saturated.
        sampling_stddev: Standard deviation from sampling, in users; 0 without sampling.
        noise_stddev: Standard deviation from noise, in users.
        epsilon_used: Loss of this release alone at `delta`; None for seeded noise, which protects nobody.
        delta: Delta of this release alone; 0 for discrete Laplace noise.
        mechanism: `gaussian`, `laplace`, `correlated` or `joint`.
        sketch_impl: `set`, `kmv`, `theta` or `hll`.
        noise_source: `secure` or `seeded`.
        private: Whether the value may be shown as differentially private.
        units_per_user: How many units of `drawn` make one user.
        vector: The three numbers of a joint draw, of which `drawn` is this metric's; None for a single metric's draw.
    """

    metric: str
    day: date
    window_days: int
    window_complete: bool
    days_in_window: int
    revision: int
    drawn: int
    threshold: int
    sketch_k: int | None
    estimate: float
    lower_95: int
    upper_95: int | None
    is_lower_bound: bool
    sampling_stddev: float
    noise_stddev: float
    epsilon_used: float | None
    delta: float
    mechanism: str
    sketch_impl: str
    noise_source: str
    private: bool
    units_per_user: int = 1
    vector: tuple[int, int, int] | None = None

    @property
    def noisy_count(self) -> float:
        """The noisy count in users, before division by theta; the estimate of a joint draw, else perhaps negative."""
        return self.drawn / self.units_per_user if self.vector is None else self.estimate

    @property
    def sampling(self) -> Sampling:
        """How the count was made."""
        return sampling_of(self.sketch_impl, threshold=self.threshold, sketch_k=self.sketch_k)

    def to_json(self) -> dict[str, Any]:
        """The stored form, JSON types only."""
        fields = {name: getattr(self, name) for name in type(self).__slots__}
        return {"version": STORED_VERSION, **fields, "day": self.day.isoformat()}

    def public_fields(self) -> dict[str, Any]:
        """Returns the fields of the result that a body shows, JSON types only."""
        return {**{name: getattr(self, name) for name in BODY_FIELDS}, "day": self.day.isoformat()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> ReleaseResult:
        """The result of a stored form.

        Raises:
            DataError: Unknown version, or fields that do not belong to it.
        """
        fields = {name: value for name, value in document.items() if name != "version"}
        try:
            if document["version"] != STORED_VERSION:
                raise ValueError
            vector = fields.get("vector")
            read = {"day": date.fromisoformat(fields["day"]), "vector": None if vector is None else tuple(vector)}
            return cls(**{**fields, **read})
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                "a stored release cannot be read",
                hint="it was written by a newer dpdau, or the ledger is damaged: use that version or restore a backup",
            ) from error


def make_result(
    drawn: int,
    mechanism: Mechanism,
    *,
    source: NoiseSource,
    metric: str,
    day: date,
    window_days: int,
    days_in_window: int,
    sketch_impl: str,
    sketch_k: int | None,
    threshold: int = KEY_SPACE,
    revision: int = 0,
) -> ReleaseResult:
    """The published value that follows from one draw. Everything taken and returned is public.

    Args:
        drawn: The noisy count, in units of the mechanism's draws.
        mechanism: What drew it.
        source: Where its randomness came from.
        metric: `dau`, `wau` or `mau`.
        day: Last day of the window.
        window_days: Length of the window.
        days_in_window: Days of the window on or after the first day of data, by the calendar.
        sketch_impl: `set`, `kmv`, `theta` or `hll`.
        sketch_k: Most that a count can be: k of kmv, m of hll; None for `set` and `theta`.
        threshold: Keys below it were counted.
        revision: 0 for the first value of the day.
    """
    buckets = sampling_of(sketch_impl, threshold=threshold, sketch_k=sketch_k).buckets
    lower, upper = interval_95(drawn, mechanism, threshold=threshold, buckets=buckets)
    sampling, noise = error_stddevs(drawn, mechanism, threshold=threshold, buckets=buckets)
    saturated = upper is None or (sketch_k is not None and is_saturated(drawn, mechanism, k=sketch_k))
    return ReleaseResult(
        metric=metric,
        day=day,
        window_days=window_days,
        window_complete=days_in_window >= window_days,
        days_in_window=days_in_window,
        revision=revision,
        drawn=drawn,
        threshold=threshold,
        sketch_k=sketch_k,
        estimate=estimate_of(drawn, threshold=threshold, buckets=buckets, units_per_user=mechanism.units_per_user),
        lower_95=lower,
        upper_95=None if saturated else upper,
        is_lower_bound=saturated,
        sampling_stddev=sampling,
        noise_stddev=noise,
        epsilon_used=mechanism.epsilon if source.is_private else None,
        delta=mechanism.delta,
        mechanism=mechanism.name,
        sketch_impl=sketch_impl,
        noise_source=source.name,
        private=source.is_private,
        units_per_user=mechanism.units_per_user,
    )


def sampling_of(sketch_impl: str, *, threshold: int, sketch_k: int | None) -> Sampling:
    """How an implementation counts below a threshold; see `ReleaseResult` for the arguments."""
    return Sampling(threshold, sketch_k if sketch_impl == "hll" else None)


def estimate_of(
    drawn: int, *, threshold: int = KEY_SPACE, buckets: int | None = None, units_per_user: int = 1
) -> float:
    """Distinct users estimated from a noisy count, never below 0: what the count stands for, in users.

    The estimate is rounded to an integer where keys were sampled or buckets counted, so it is unbiased to half a user
    before negative values become 0. Where all keys were counted it is as drawn, halves included. If all buckets were
    hit, it is the estimate for all buckets but one.

    Args:
        drawn: The noisy count.
        threshold: Keys below it were counted.
        buckets: m where the buckets that they hit were counted.
        units_per_user: How many units of `drawn` make one user.
    """
    if buckets is not None:
        sampling, count = Sampling(threshold, buckets), drawn / units_per_user
        return max(0, round(sampling.users(min(count, buckets - 1.0)) or 0))
    scaled = units_per_user * threshold
    if threshold == KEY_SPACE:
        return max(0, drawn // units_per_user if drawn % units_per_user == 0 else drawn / units_per_user)
    return max(0, (drawn * KEY_SPACE + scaled // 2) // scaled)


def is_saturated(drawn: int, mechanism: Mechanism, *, k: int) -> bool:
    """Returns whether the sketch may have been full below the threshold, so that the value is a lower bound.

    A full sketch is recognised with probability above 99.9 %; the price is that one within the noise of being full is
    flagged too.

    Args:
        drawn: The noisy count.
        mechanism: What drew it.
        k: Keys that the sketch retained, or its buckets.
    """
    return drawn >= k * mechanism.units_per_user - mechanism.noise_quantile(SATURATION_PROBABILITY)


def threshold_for(users: float, *, k: int, impl: str = "kmv") -> int:
    """The threshold under which `users` and their growth fill a sketch but, to four deviations, do not overfill it.

    kmv: theta = (k - 4 sqrt k) / (users (1 + EXPECTED_GROWTH)), at most 1. hll: the largest power of two under which
    `users` hit at most 80 % of the buckets; grown by half they leave 9 % empty, and the error grows by a fifteenth.

    Args:
        users: A public number: a published value or EXPECTED_USERS; positive.
        k: Keys that the sketch retains, or its buckets.
        impl: `kmv` or `hll`.

    Returns:
        T in 1 .. 2^64.
    """
    if impl == "hll":
        return _power_of_two(FULLEST_LOAD * k / users)
    theta = (k - 4 * math.sqrt(k)) / (users * (1 + EXPECTED_GROWTH))
    return max(1, min(KEY_SPACE, int(theta * KEY_SPACE)))


def next_threshold(previous: ReleaseResult, *, k: int, impl: str = "kmv") -> int:
    """The threshold of the next release of a metric, from its previous release alone.

    Half the previous one if that was saturated (less where the sketch is smaller now), twice if it kept fewer than
    k / 4 keys, else as `threshold_for` says of the previous value.

    Args:
        previous: An earlier published result of the same metric, of any implementation.
        k: Keys that the sketch retains now, or its buckets.
        impl: `kmv` or `hll`: how the next count is made.

    Returns:
        T in 1 .. 2^64; a power of two for hll.
    """
    count = max(1.0, previous.noisy_count)
    users = previous.sampling.users(previous.sampling.possible(count)) or count
    if previous.is_lower_bound:
        following = max(1, min(previous.threshold // 2, threshold_for(users, k=k, impl=impl)))
    elif previous.noisy_count * STARVATION_SHARE < (previous.sketch_k or k):
        following = min(KEY_SPACE, previous.threshold * 2)
    else:
        following = threshold_for(users, k=k, impl=impl)
    return _power_of_two(following / KEY_SPACE) if impl == "hll" else following


def _power_of_two(theta: float) -> int:
    """The largest power of two that is at most theta, as a threshold in 1 .. 2^64."""
    return max(1, KEY_SPACE >> max(0, math.ceil(-math.log2(theta))))


def require_releasable_sketch(mechanism: Mechanism, *, k: int, impl: str = "kmv") -> None:
    """Refuses a sketch in which this noise would hide whether it is full or starved.

    Args:
        mechanism: What will draw.
        k: Keys that the sketch retains, or its buckets.
        impl: `kmv` or `hll`; `set` and `theta` are never full.

    Raises:
        ConfigurationError: kmv: 4 sqrt k, the room left under k, is smaller than the 99.9 % quantile of the noise, or a
            sketch filled as planned would look starved. hll: that quantile exceeds a tenth of the buckets.
    """
    reach = math.ceil(mechanism.noise_quantile(SATURATION_PROBABILITY) / mechanism.units_per_user)
    planned = (k - 4 * math.sqrt(k)) / (1 + EXPECTED_GROWTH)
    is_hidden = 4 * math.sqrt(k) < reach or planned < k / STARVATION_SHARE + reach
    if ROOM_FOR_NOISE * k < reach if impl == "hll" else is_hidden:
        raise ConfigurationError(
            f"SKETCH_K={k} is too small for noise that reaches {reach} users ({mechanism.name})",
            hint="raise SKETCH_K (65536 is the default), raise the metric's epsilon, or set SKETCH_IMPL=set",
        )


def body(result: ReleaseResult, *, budget: BudgetSnapshot) -> dict[str, Any]:
    """Returns the document that every interface shows for a release: the stored value and the state of its budget.

    Args:
        result: The stored result; nothing of it is recomputed.
        budget: The budget of the result's metric and month, as of now.
    """
    return {
        **result.public_fields(),
        "budget_remaining": budget.budget_remaining,
        "budget": budget.to_json(),
        "version": __version__,
    }
