"""Laws of core/sketches/theta.py and its bytes that the abstract laws of sketches do not state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dpdau_assets.core.sketches import apache
from dpdau_assets.core.sketches.murmur import theta_hashes
from dpdau_assets.core.sketches.protocol import KEY_SPACE
from dpdau_assets.core.sketches.theta import ThetaSketch
from dpdau_assets.errors import ConfigurationError, DataError, InternalError
from dpdau_tests.support.sketches import array, murmur_of_key

EDGES = [0, 1, 2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1]
THETAS = [0, 1, 3, 10]


def random_keys(users: int, *, seed: int) -> np.ndarray:
    keys = np.random.default_rng(seed).integers(0, 2**64, users, dtype=np.uint64)
    return np.unique(np.concatenate((keys, array(EDGES))))


def apache_sketch(keys: np.ndarray, *, bits: int, lg_k: int = 20) -> Any:
    """Apache's own sketch of our pseudonyms, as another program would make it."""
    from datasketches import update_theta_sketch

    sketch = update_theta_sketch(lg_k, 2.0**-bits)
    for key in keys.astype(np.int64).tolist():  # Python's binding takes integers as signed
        sketch.update(key)
    return sketch.compact()


class TestHashes:
    def test_are_murmur_of_each_key(self) -> None:
        """The vectorised hash is MurmurHash3 as worked out key by key."""
        keys = random_keys(300, seed=1)
        assert theta_hashes(keys).tolist() == [murmur_of_key(int(key)) for key in keys]

    @pytest.mark.requires_theta
    def test_are_those_of_apache(self) -> None:
        """Apache's sketch of the same keys holds the same hashes."""
        keys = random_keys(300, seed=2)
        assert sorted(apache_sketch(keys, bits=0)) == sorted(theta_hashes(keys).tolist())


@pytest.mark.requires_theta
class TestBytes:
    @pytest.mark.parametrize("bits", THETAS)
    @pytest.mark.parametrize("users", [0, 1, 2, 5000])
    def test_are_read_by_apache(self, users: int, bits: int) -> None:
        """Apache reads what we store as it is: the same hashes, theta and estimate."""
        from datasketches import compact_theta_sketch

        keys = random_keys(users, seed=users) if users else array([])
        ours = ThetaSketch.from_keys(keys, threshold=KEY_SPACE >> bits)
        theirs = compact_theta_sketch.deserialize(ours.to_bytes())
        expected = [h for h in theta_hashes(keys).tolist() if 0 < h < (2**63 >> bits)]
        assert sorted(theirs) == sorted(expected)
        assert (theirs.theta, theirs.get_estimate()) == (pytest.approx(2.0**-bits, rel=1e-15), ours.estimate())
        assert theirs.is_ordered()

    @pytest.mark.parametrize("compress", [False, True])
    @pytest.mark.parametrize("bits", THETAS)
    def test_of_apache_are_read(self, bits: int, compress: bool) -> None:
        """What Apache makes of the same keys with p = theta is our sketch, in each of its forms."""
        for users in (1, 4, 5000):
            keys = random_keys(users, seed=[users, bits])
            theirs = apache_sketch(keys, bits=bits).serialize(compress)
            threshold = KEY_SPACE >> bits
            assert ThetaSketch.from_apache(theirs, threshold=threshold) == ThetaSketch.from_keys(
                keys, threshold=threshold
            )
        empty = apache_sketch(array([]), bits=bits).serialize(compress)
        assert ThetaSketch.from_apache(empty, threshold=threshold).threshold_count(threshold) == 0

    def test_are_the_bytes_that_apache_writes(self) -> None:
        """Before the seal our bytes are those of Apache's own sketch of the same keys, byte for byte."""
        for bits in THETAS:
            keys = random_keys(3000, seed=bits)
            theirs = apache_sketch(keys, bits=bits).serialize()
            ours = ThetaSketch.from_keys(keys, threshold=KEY_SPACE >> bits).to_bytes()
            assert ours[: len(theirs)] == theirs
            assert len(ours) == len(theirs) + 40

    def test_unite_in_apache_as_here(self) -> None:
        """Apache's union of our bytes, and of ours with its own, is our union."""
        from datasketches import compact_theta_sketch, theta_union

        first, second = random_keys(4000, seed=3), random_keys(3000, seed=4)
        threshold = KEY_SPACE >> 2
        union = theta_union(20)
        union.update(compact_theta_sketch.deserialize(ThetaSketch.from_keys(first, threshold=threshold).to_bytes()))
        union.update(apache_sketch(second, bits=2))
        expected = ThetaSketch.from_keys(np.union1d(first, second), threshold=threshold)
        assert ThetaSketch.from_apache(union.get_result().serialize(), threshold=threshold) == expected

    def test_of_a_denser_sample_are_thinned(self) -> None:
        """An Apache sketch that sampled more is cut to our threshold; the rest of it is not needed."""
        keys = random_keys(4000, seed=5)
        theirs = apache_sketch(keys, bits=1).serialize()
        assert ThetaSketch.from_apache(theirs, threshold=KEY_SPACE >> 4) == ThetaSketch.from_keys(
            keys, threshold=KEY_SPACE >> 4
        )

    def test_of_a_full_apache_sketch_are_refused(self) -> None:
        """A sketch that lowered its own theta says no more about the public threshold."""
        theirs = apache_sketch(random_keys(20_000, seed=6), bits=0, lg_k=10).serialize()
        with pytest.raises(DataError, match="fewer hashes"):
            ThetaSketch.from_apache(theirs, threshold=KEY_SPACE)

    @pytest.mark.parametrize("stored", [b"", b"\x00" * 8, b"\x03" * 24, b"no sketch of anything at all"])
    def test_of_something_else_are_refused(self, stored: bytes) -> None:
        """Other bytes are a DataError in one line that quotes nothing of them."""
        with pytest.raises(DataError, match="not a compact theta sketch"):
            ThetaSketch.from_apache(stored, threshold=KEY_SPACE)

    def test_of_another_seed_are_refused(self) -> None:
        """Hashes made with another seed cannot be compared."""
        from datasketches import update_theta_sketch

        other = update_theta_sketch(12, 1.0, 7)
        other.update(1)
        with pytest.raises(DataError, match="usual seed"):
            ThetaSketch.from_apache(other.compact().serialize(), threshold=KEY_SPACE)


class TestSample:
    @pytest.mark.parametrize("threshold", [0, 1, 3, 2**63 + 2, 2 * KEY_SPACE])
    def test_is_taken_below_a_power_of_two(self, threshold: int) -> None:
        """Any other threshold is our own bug."""
        with pytest.raises(InternalError):
            ThetaSketch.from_keys(array([1]), threshold=threshold)

    def test_errs_as_stated(self) -> None:
        """Over 200 sets the estimate is unbiased with variance n (1 - theta) / theta."""
        users, theta, runs = 2000, 2.0**-3, 200
        estimates = [
            ThetaSketch.from_keys(random_keys(users, seed=[run, 9]), threshold=KEY_SPACE >> 3).estimate()
            for run in range(runs)
        ]
        stated = (users * (1 - theta) / theta) ** 0.5
        assert abs(np.mean(estimates) - users - len(EDGES)) < 4 * stated / runs**0.5
        assert np.std(estimates) == pytest.approx(stated, rel=4 / (2 * runs) ** 0.5)


class TestWithoutThePackage:
    def test_bytes_are_refused_in_one_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without datasketches the one thing that is refused is bytes, with the command that installs it."""
        monkeypatch.setattr(apache, "PACKAGE", "no_such_package_of_sketches")
        sketch = ThetaSketch.from_keys(array([1, 2]), threshold=KEY_SPACE)
        assert sketch.estimate() == 2
        with pytest.raises(ConfigurationError, match="not installed") as refused:
            sketch.to_bytes()
        assert "pip install 'dpdau-assets[theta]'" in refused.value.hint
        assert "\n" not in str(refused.value)
