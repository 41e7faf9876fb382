"""Refuses at start the pairs of mechanism and sketch that may not be released, and sketches that cannot be made.

Belongs here: rules about settings that are valid alone but not together, where a privacy argument decides. Values and
defaults belong to `settings`; the arguments are in docs/sketches.md.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping

from pydantic import SecretStr

from dpdau_assets.errors import ConfigurationError

SKETCHES_OF_MECHANISM: dict[str, tuple[str, ...]] = {
    "gaussian": ("set", "kmv", "theta", "hll"),
    "laplace": ("set", "kmv", "theta", "hll"),
    "correlated": ("set", "kmv", "theta", "hll"),
    "joint": ("set",),
    "tree": (),
    "matrix": (),
}
"""Which sketches each mechanism may release; every other pair is refused at start."""

THETA_PACKAGE = "datasketches"
"""The package that the extra `theta` installs."""


def refuse_unsound_sketch(mechanism: str, sketch_impl: str, *, sketch_k: int) -> None:
    """Raises ConfigurationError unless this mechanism may release this sketch and the sketch can be made.

    Args:
        mechanism: MECHANISM.
        sketch_impl: SKETCH_IMPL.
        sketch_k: SKETCH_K.

    Raises:
        ConfigurationError: The pair is not allowed, or the sketch cannot be made; the message gives the reason.
    """
    if sketch_impl not in SKETCHES_OF_MECHANISM[mechanism]:
        raise ConfigurationError(
            f"MECHANISM={mechanism} does not work with SKETCH_IMPL={sketch_impl}: one user could move its three counts "
            "in a way that the noise does not cover",
            hint="set SKETCH_IMPL=set, or MECHANISM=correlated",
        )
    if sketch_impl == "theta" and importlib.util.find_spec(THETA_PACKAGE) is None:
        raise ConfigurationError(
            "SKETCH_IMPL=theta needs Apache DataSketches, which is not installed",
            hint="pip install 'dpdau-assets[theta]', or set SKETCH_IMPL=kmv or set",
        )
    if sketch_impl == "hll" and sketch_k & (sketch_k - 1):
        power = 1 << (sketch_k.bit_length() - 1)
        raise ConfigurationError(
            f"SKETCH_IMPL=hll needs a power of two of registers, not SKETCH_K={sketch_k}",
            hint=f"set SKETCH_K={power} or {2 * power}",
        )


def refuse_equal_keys(keys: Mapping[str, SecretStr | None]) -> None:
    """Raises ConfigurationError if two keys are equal: the holder of one would also have the rights of the other."""
    first: dict[str, str] = {}
    for name, key in keys.items():
        if key is None:
            continue
        other = first.setdefault(key.get_secret_value(), name)
        if other != name:
            raise ConfigurationError(f"{other} and {name} are equal", hint=f"choose another value for {name}")
