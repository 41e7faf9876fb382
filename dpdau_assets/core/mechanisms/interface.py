"""The protocols of noise: a mechanism (which noise, how much) and a noise source (where randomness comes from).

Belongs here: the signatures that releases, intervals and accounting rely on. Does not belong here: any sampler.
Everything is in integers: the count, the noise, the draw. All of a mechanism is public; the count it is applied to is
sensitive and travels only as an argument.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from dpdau_assets.core.dp_events import DpEvent, EventCounts


@runtime_checkable
class NoiseSource(Protocol):
    """Independent integers from the two noise distributions, exactly (no floating-point rounding of the law)."""

    @property
    def name(self) -> str:
        """`secure` or `seeded`; published with each release."""

    @property
    def is_private(self) -> bool:
        """Returns whether a draw may protect real people: False when it can be repeated from a stored seed."""

    def discrete_gaussian(self, stddev: float) -> int:
        """One draw of N_Z(0, stddev^2).

        Args:
            stddev: Parameter sigma in users, positive; used as the exact rational value of the float.
        """

    def discrete_laplace(self, scale: float) -> int:
        """One draw with Pr[x] proportional to exp(-|x| / scale).

        Args:
            scale: Scale in users, positive; used as the exact rational value of the float.
        """


@runtime_checkable
class ReleaseNoise(Protocol):
    """What budget and ledger know of any mechanism: its name, its frozen parameters, what it charges."""

    @property
    def name(self) -> str:
        """Value of the setting MECHANISM; published with each release."""

    @property
    def parameters(self) -> dict[str, float]:
        """What freezes this mechanism for an account, as JSON; `mechanism_from_parameters` is the inverse."""

    @property
    def epsilon(self) -> float:
        """Loss of one draw at `delta`, as it was asked for; the event's exact loss is at most this."""

    @property
    def delta(self) -> float:
        """Delta of one draw; 0 for a purely epsilon-DP mechanism."""

    def event(self) -> DpEvent:
        """The privacy event that one release charges."""

    def shared_noise_charge(self) -> EventCounts:
        """What an account is charged, once, for its shared noise; empty for independent noise."""

    def draw_shared_noise(self, source: NoiseSource) -> int | None:
        """Returns the noise that all releases of an account share (sensitive); None for independent noise.

        Args:
            source: Where the randomness comes from.
        """


@runtime_checkable
class Mechanism(ReleaseNoise, Protocol):
    """Adds noise to one integer count of sensitivity 1, and says how far it errs.

    A draw is in units of 1 / `units_per_user` users.
    """

    @property
    def units_per_user(self) -> int:
        """How many units of a draw make one user: 2 for correlated noise, whose draws are half users, else 1."""

    def draw(self, value: int, source: NoiseSource, *, shared_noise: int | None = None) -> int:
        """`value` in the units of draws, plus one fresh noise, plus the shared noise.

        Args:
            value: The exact count, in users (sensitive).
            source: Where the randomness comes from.
            shared_noise: What `draw_shared_noise` gave for the account.

        Raises:
            InternalError: The mechanism needs shared noise and got none, or the reverse.
        """

    def noise_quantile(self, probability: float) -> int:
        """Smallest integer q with Pr[noise <= q] >= probability, from the exact pmf; in units of draws.

        Args:
            probability: In (0, 1).
        """

    def noise_variance(self) -> float:
        """Variance of the noise, in users squared."""

    def noise_pmf(self) -> tuple[int, npt.NDArray[np.float64]]:
        """A draw's exact noise: (smallest value in units, float64[n] of probabilities), tails under 1e-15."""
