"""The sketch that a data folder makes: SKETCH_IMPL with its one size, chosen by public configuration.

Belongs here: making and reading sketches without knowing their implementation, which has its own file. The threshold
that a release counts at belongs to `core.release`.
"""

from __future__ import annotations

from dataclasses import dataclass

from dpdau_assets.core.sketches.exact import ExactSketch
from dpdau_assets.core.sketches.hll import HllSketch
from dpdau_assets.core.sketches.kmv import KmvSketch
from dpdau_assets.core.sketches.protocol import KEY_SPACE, DistinctSketch, Keys
from dpdau_assets.core.sketches.theta import ThetaSketch
from dpdau_assets.errors import InternalError


@dataclass(frozen=True, slots=True)
class SketchPlan:
    """How sketches are made. All of it is public.

    Attributes:
        impl: `set`, `kmv`, `theta` or `hll`.
        size: k of kmv, m of hll, theta's sampling threshold, 0 for set. Sketches of one size can be united exactly; a
            partition made with another size is rebuilt.
    """

    impl: str
    size: int

    @classmethod
    def of(cls, impl: str, *, k: int, expected_users: int | None) -> SketchPlan:
        """The plan that settings ask for.

        Args:
            impl: SKETCH_IMPL.
            k: SKETCH_K; for hll a power of two.
            expected_users: EXPECTED_USERS; without it theta keeps every user.
        """
        sizes = {"set": 0, "kmv": k, "hll": k, "theta": sampling_threshold(k, expected_users=expected_users)}
        return cls(impl, sizes[impl])

    @property
    def capacity(self) -> int | None:
        """Largest count that a sketch can give: k, m, or None for no limit."""
        return self.size if self.impl in ("kmv", "hll") else None

    @property
    def fixed_threshold(self) -> int | None:
        """The threshold of every release where configuration alone decides it; None where earlier releases do."""
        if self.impl == "theta":
            return self.size
        return KEY_SPACE if self.impl == "set" else None

    def from_keys(self, keys: Keys) -> DistinctSketch:
        """The sketch of `keys`: uint64[n], strictly increasing (sensitive)."""
        if self.impl == "kmv":
            return KmvSketch.from_keys(keys, k=self.size)
        if self.impl == "hll":
            return HllSketch.from_keys(keys, m=self.size)
        if self.impl == "theta":
            return ThetaSketch.from_keys(keys, threshold=self.size)
        if self.impl == "set":
            return ExactSketch.from_keys(keys)
        raise InternalError(f"there is no sketch called {self.impl}")

    def from_bytes(self, stored: bytes) -> DistinctSketch:
        """The sketch that its `to_bytes` wrote; DataError when the bytes are of another implementation."""
        kinds = (ExactSketch, KmvSketch, ThetaSketch, HllSketch)
        readers = {kind.impl: kind.from_bytes for kind in kinds}
        return readers[self.impl](stored)


def sampling_threshold(k: int, *, expected_users: int | None) -> int:
    """theta's sampling threshold: the smallest power of two under which `expected_users` leave k or more.

    Args:
        k: Users to keep at least (public).
        expected_users: A public estimate; None keeps everybody.

    Returns:
        theta times 2^64, a power of two.
    """
    bits = max(1, (expected_users or 0) // k).bit_length() - 1
    return KEY_SPACE >> bits
