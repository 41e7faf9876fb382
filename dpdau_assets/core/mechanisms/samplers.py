"""The sources of randomness: OpenDP for real people, a keyed byte stream for synthetic data.

Belongs here: the two noise sources, and the wrapper that marks any other one. Both return exact samples: every step is
integer or rational arithmetic, so there is no floating-point grid to attack (Mironov 2012). Does not belong here: which
source a data folder may use.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import Any, ClassVar

from dpdau_assets.core.mechanisms.interface import NoiseSource
from dpdau_assets.errors import InternalError

SEED_MASK = 2**63 - 1
"""Seeds are stored in signed 64-bit columns; the sign bit is cleared first."""


class SecureNoise:
    """Noise from OpenDP's exact samplers, seeded by the operating system; safe across fork (no state of ours).

    The guarantee is OpenDP's: exact discrete distributions for the rational value of the given float.

    Reference: OpenDP 0.16 `make_gaussian`, `make_laplace` over i64 and their proof documents.
    """

    name: ClassVar[str] = "secure"
    """`secure`."""

    is_private: ClassVar[bool] = True
    """True: nothing that is stored can repeat a draw."""

    def discrete_gaussian(self, stddev: float) -> int:
        """One draw of N_Z(0, stddev^2)."""
        return _opendp_noise("make_gaussian", stddev)(0)

    def discrete_laplace(self, scale: float) -> int:
        """One draw with Pr[x] proportional to exp(-|x| / scale)."""
        return _opendp_noise("make_laplace", scale)(0)


@lru_cache(maxsize=256)
def _opendp_noise(constructor: str, scale: float) -> Callable[[int], int]:
    # Imported at the first draw: 0.4 s that a process without a release need not pay (`opendp.prelude` costs 1.6 s).
    from opendp import measurements
    from opendp.domains import atom_domain
    from opendp.metrics import absolute_distance
    from opendp.mod import enable_features

    enable_features("contrib")
    make: Callable[..., Any] = getattr(measurements, constructor)
    measurement: Callable[[int], int] = make(atom_domain(T="i64"), absolute_distance(T="i64"), scale=scale)
    return measurement


class SeededNoise:
    """Noise that the same key repeats. It serves data folders created as synthetic, never data of people.

    The byte stream is HMAC-SHA256(key, counter) for counter 0, 1, ...; the samplers on it are exact.

    Args:
        key: Key material, at least 16 bytes; one key per draw or per sequence of draws. Whoever holds it can remove
            the noise.

    Reference: Canonne, Kamath, Steinke (2020), arXiv 2004.00010, Algorithms 1 to 3.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < 16:
            raise InternalError("a noise key must have at least 16 bytes")
        self._inner = hmac.new(key, digestmod=hashlib.sha256)
        self._counter = 0
        self._pool = 0
        self._pool_bits = 0

    def __repr__(self) -> str:
        return "SeededNoise(...)"

    name: ClassVar[str] = "seeded"
    """`seeded`."""

    is_private: ClassVar[bool] = False
    """False: whoever knows the seed can subtract the noise."""

    def discrete_gaussian(self, stddev: float) -> int:
        """One draw of N_Z(0, stddev^2), by rejection from discrete Laplace noise (Algorithm 3)."""
        variance = Fraction(stddev) ** 2
        scale = int(stddev) + 1
        while True:
            candidate = self._laplace(scale, 1)
            # accept with probability exp(-(|y| - sigma^2/t)^2 / (2 sigma^2))
            if self._bernoulli_exp((abs(candidate) - variance / scale) ** 2 / (2 * variance)):
                return candidate

    def discrete_laplace(self, scale: float) -> int:
        """One draw with Pr[x] proportional to exp(-|x| / scale) (Algorithm 2)."""
        exact = Fraction(scale)
        return self._laplace(exact.numerator, exact.denominator)

    def _laplace(self, numerator: int, denominator: int) -> int:
        while True:
            remainder = self.uniform_below(numerator)
            if not self._bernoulli_exp(Fraction(remainder, numerator)):
                continue
            rounds = 0
            while self._bernoulli_exp(Fraction(1)):
                rounds += 1
            magnitude = (remainder + numerator * rounds) // denominator
            is_negative = self.uniform_below(2) == 1
            if not (is_negative and magnitude == 0):
                return -magnitude if is_negative else magnitude

    def _bernoulli_exp(self, gamma: Fraction) -> bool:
        """True with probability exp(-gamma), gamma >= 0 (Algorithm 1)."""
        whole, part = divmod(gamma, 1)
        return all(self._bernoulli_exp_unit(1, 1) for _ in range(whole)) and self._bernoulli_exp_unit(
            part.numerator, part.denominator
        )

    def _bernoulli_exp_unit(self, numerator: int, denominator: int) -> bool:
        """True with probability exp(-gamma), gamma = numerator / denominator in [0, 1]: von Neumann's series."""
        k = 1
        while self.uniform_below(denominator * k) < numerator:
            k += 1
        return k % 2 == 1

    def uniform_below(self, limit: int) -> int:
        """Uniform on 0 .. limit - 1, by rejection of whole bit strings."""
        bits = (limit - 1).bit_length()
        while True:
            candidate = self._bits(bits)
            if candidate < limit:
                return candidate

    def _bits(self, count: int) -> int:
        while self._pool_bits < count:
            block = self._inner.copy()
            block.update(self._counter.to_bytes(8, "big"))
            self._pool = (self._pool << 256) | int.from_bytes(block.digest(), "big")
            self._pool_bits += 256
            self._counter += 1
        self._pool_bits -= count
        taken = self._pool >> self._pool_bits
        self._pool &= (1 << self._pool_bits) - 1
        return taken


class UnprivateNoise:
    """The draws of any source, marked like seeded noise: whatever the source claims, its values are not private.

    Args:
        source: Where the draws come from.
    """

    def __init__(self, source: NoiseSource) -> None:
        self._source = source

    name: ClassVar[str] = "seeded"
    """`seeded`: not the noise of the secure source."""

    is_private: ClassVar[bool] = False
    """False: nothing is known of the source."""

    def discrete_gaussian(self, stddev: float) -> int:
        """One draw of the source."""
        return self._source.discrete_gaussian(stddev)

    def discrete_laplace(self, scale: float) -> int:
        """One draw of the source."""
        return self._source.discrete_laplace(scale)


def draw_key(experiment_key: bytes, *, ledger_id: str, account: int, draw: int) -> bytes:
    """The key of one draw of a synthetic ledger: different for every ledger, account and draw number.

    Args:
        experiment_key: Random key of the experiment.
        ledger_id: Identity of the ledger.
        account: Number of the budget account.
        draw: Number of the draw within the account, never reused.
    """
    message = f"dpdau/draw/{len(ledger_id)}/{ledger_id}/{account}/{draw}".encode()
    return hmac.new(experiment_key, message, hashlib.sha256).digest()


def mask_seed(seed: int) -> int:
    """A seed as stored: its low 63 bits, which every SQL engine holds in a signed column."""
    return seed & SEED_MASK
