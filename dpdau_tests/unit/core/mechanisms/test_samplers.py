"""Laws of core/mechanisms/samplers.py; what the draws are distributed like is in statistical/test_noise.py."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dpdau_assets.core.mechanisms.interface import NoiseSource
from dpdau_assets.core.mechanisms.samplers import SecureNoise, SeededNoise, draw_key, mask_seed
from dpdau_assets.errors import InternalError

PINNED_GAUSSIAN = [2, 13, -27, 15, 4, -6]
PINNED_LAPLACE = [0, -2, -6, 9, 1, 0]
FORKING = """
import os, sys
from dpdau_assets.core.mechanisms.samplers import SecureNoise
source = SecureNoise()
def draws():
    pairs = [(source.discrete_gaussian(1e12), source.discrete_laplace(1e12)) for _ in range(20)]
    return " ".join(str(draw) for pair in pairs for draw in pair)
print(draws(), flush=True)
for _ in range(4):
    child = os.fork()
    if child == 0:
        print(draws(), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
print(draws(), flush=True)
"""


def first_draws(source: NoiseSource, count: int = 12) -> list[int]:
    return [source.discrete_gaussian(12.99) for _ in range(count)] + [
        source.discrete_laplace(3.3) for _ in range(count)
    ]


class TestSecure:
    def test_is_a_source(self) -> None:
        """It satisfies the protocol, gives Python integers, and may protect people."""
        source = SecureNoise()
        assert isinstance(source, NoiseSource)
        assert all(type(draw) is int for draw in first_draws(source))
        assert (source.name, source.is_private) == ("secure", True)

    def test_forked_processes_do_not_repeat_draws(self) -> None:
        """A parent and its forked children never return the same sequence: 240 wide draws are all different."""
        done = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, check=True, timeout=120)
        draws = done.stdout.split()
        assert len(draws) == 240
        assert len(set(draws)) == 240  # by chance two agree with probability under 1e-7

    def test_is_imported_at_the_first_draw(self) -> None:
        """Importing the samplers loads neither opendp nor dp_accounting, which cost seconds."""
        code = (
            "import sys, dpdau_assets.core.release.release\n"
            "print([m for m in ('opendp', 'dp_accounting') if m in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout.strip() == "[]"


class TestSeeded:
    def test_repeats_with_its_key(self) -> None:
        """The same key gives the same draws, another key others."""
        assert first_draws(SeededNoise(b"k" * 32)) == first_draws(SeededNoise(b"k" * 32))
        assert first_draws(SeededNoise(b"k" * 32)) != first_draws(SeededNoise(b"j" * 32))

    def test_is_pinned(self) -> None:
        """Draws of a key are the same on every machine and in every version."""
        source = SeededNoise(bytes(range(32)))
        assert [source.discrete_gaussian(12.99) for _ in range(6)] == PINNED_GAUSSIAN
        assert [source.discrete_laplace(2.5) for _ in range(6)] == PINNED_LAPLACE

    def test_says_that_it_protects_nobody(self) -> None:
        """Its releases are marked, and neither key nor state is printed."""
        source = SeededNoise(b"secret-key-material")
        assert isinstance(source, NoiseSource)
        assert (source.name, source.is_private) == ("seeded", False)
        assert "secret" not in repr(source)

    def test_refuses_a_short_key(self) -> None:
        """A key that could be guessed is refused."""
        with pytest.raises(InternalError):
            SeededNoise(b"short")

    def test_uniform_integers_are_below_their_limit(self) -> None:
        """Every value below a limit occurs, and none at or above it."""
        source = SeededNoise(b"k" * 32)
        for limit in (1, 2, 3, 7, 256):
            assert {source.uniform_below(limit) for _ in range(60 * limit)} == set(range(limit))


class TestDrawKey:
    def test_differs_in_every_part(self) -> None:
        """Ledger, account, draw number and experiment each give another key, also where texts could run together."""
        keys = [
            draw_key(b"e" * 32, ledger_id="a", account=1, draw=1),
            draw_key(b"f" * 32, ledger_id="a", account=1, draw=1),
            draw_key(b"e" * 32, ledger_id="b", account=1, draw=1),
            draw_key(b"e" * 32, ledger_id="a", account=2, draw=1),
            draw_key(b"e" * 32, ledger_id="a", account=1, draw=2),
            draw_key(b"e" * 32, ledger_id="a/1", account=1, draw=1),
            draw_key(b"e" * 32, ledger_id="a", account=11, draw=1),
            draw_key(b"e" * 32, ledger_id="a", account=1, draw=11),
        ]
        assert len(set(keys)) == len(keys)
        assert all(len(key) == 32 for key in keys)

    def test_seed_fits_a_signed_column(self) -> None:
        """A stored seed keeps its low 63 bits."""
        assert mask_seed(2**64 - 1) == 2**63 - 1
        assert mask_seed(20251009) == 20251009
