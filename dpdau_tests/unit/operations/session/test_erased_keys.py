"""ErasedKeys: who is erased on a day under an epoch."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpdau_assets.operations.session.erased_keys import ErasedKeys
from dpdau_assets.storage.ledger.erasures import Tombstones

DAY = date(2026, 5, 5)
few_keys = st.sets(st.integers(0, 2**64 - 1) | st.integers(0, 20), max_size=30)


def sorted_keys(values: set[int]) -> np.ndarray:  # type: ignore[type-arg]
    return np.array(sorted(values), np.uint64)


class TestErasedKeys:
    @given(held=few_keys, erased=few_keys, later=few_keys)
    def test_without_is_a_set_difference(self, held: set[int], erased: set[int], later: set[int]) -> None:
        """`without` leaves exactly the keys whose tombstone lies before the day or is absent."""
        through = {key: date(2026, 5, 4) for key in erased} | {key: date(2026, 5, 5) for key in later}
        keys = sorted_keys(set(through))
        days = np.array([through[int(key)] for key in keys], "datetime64[D]")
        tombstones = ErasedKeys({7: Tombstones(keys, days)})
        kept = tombstones.without(sorted_keys(held), day=DAY, epoch=7)
        assert set(kept.tolist()) == held - later
        assert tombstones.has_any(sorted_keys(held), day=DAY, epoch=7) == bool(held & later)
        assert tombstones.concerns(DAY, epoch=7) == bool(later)

    def test_the_same_object_comes_back_when_nobody_is_erased(self) -> None:
        """A file without erased keys is recognised without a comparison of its content."""
        held = sorted_keys({1, 5, 9})
        tombstones = ErasedKeys({7: Tombstones.until(sorted_keys({2, 9}), date(2026, 5, 4))})
        assert tombstones.without(held, day=DAY, epoch=7) is held
        assert tombstones.without(held, day=date(2026, 5, 4), epoch=7).tolist() == [1, 5]

    def test_epochs_do_not_mix(self) -> None:
        """A pseudonym erased under one epoch says nothing about the same number under another."""
        tombstones = ErasedKeys({7: Tombstones.until(sorted_keys({5}), DAY)})
        held = sorted_keys({5})
        assert tombstones.without(held, day=DAY, epoch=8) is held
        assert tombstones.without(held, day=DAY, epoch=7).size == 0

    @pytest.mark.parametrize("is_empty", [True, False])
    def test_prints_as_nothing(self, is_empty: bool) -> None:
        """Tombstones never show a key."""
        tombstones = {} if is_empty else {7: Tombstones.until(sorted_keys({123456789}), DAY)}
        assert repr(ErasedKeys(tombstones)) == "ErasedKeys(...)"
        assert bool(ErasedKeys(tombstones)) is not is_empty
