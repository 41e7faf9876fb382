"""Laws of storage/offsets.py: an offset is readable with its own key only, and never again once that is gone."""

from __future__ import annotations

import base64
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from dpdau_assets.errors import ConfigurationError
from dpdau_assets.storage.keys import shared_noise_keys
from dpdau_assets.storage.keys.shared_noise_keys import SharedNoiseKeys
from dpdau_assets.storage.ledger.accounts import Account

ACCOUNT = Account(7, "dau", "2025-01", 1, "correlated", {}, 3.0, 1e-6, 6.0, 29.0, "2025-02-01T00:00:00+00:00")


@pytest.fixture
def keys(tmp_path: Path) -> SharedNoiseKeys:
    return SharedNoiseKeys(tmp_path / "secrets" / "offsets", "ab" * 16)


class TestSharedNoiseKeys:
    @pytest.mark.parametrize("shared_noise", [0, 5, -5, 2**60, -(2**60)])
    def test_sealed_shared_noise_opens(self, keys: SharedNoiseKeys, shared_noise: int) -> None:
        """What was sealed comes back, whatever its sign and size; the text is as long for any of them."""
        account = replace(ACCOUNT, sealed_offset=keys.seal(ACCOUNT, shared_noise))
        assert keys.open(account) == shared_noise
        assert keys.can_open(account)
        assert len(str(account.sealed_offset)) == 60

    def test_the_key_is_for_its_owner_alone(self, keys: SharedNoiseKeys) -> None:
        """The file is 0600 in a folder 0700; one that others can read is refused."""
        account = replace(ACCOUNT, sealed_offset=keys.seal(ACCOUNT, 5))
        path = keys.path(7)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        path.chmod(0o640)
        with pytest.raises(ConfigurationError, match="can be read by others"):
            keys.open(account)

    @pytest.mark.parametrize(
        "change", [{"account": 8}, {"metric": "wau"}, {"period": "2025-02"}], ids=["account", "metric", "period"]
    )
    def test_it_is_bound_to_its_place(self, keys: SharedNoiseKeys, change: dict[str, object]) -> None:
        """Moved to another account, metric or month, with its key, it does not open."""
        moved = replace(ACCOUNT, sealed_offset=keys.seal(ACCOUNT, 5), **change)  # type: ignore[arg-type]
        keys.path(moved.account).write_bytes(keys.path(7).read_bytes())
        keys.path(moved.account).chmod(0o600)
        assert (keys.open(moved), keys.can_open(moved)) == (None, False)

    def test_it_is_bound_to_the_form_it_was_sealed_in(
        self, keys: SharedNoiseKeys, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Under another version of the sealed form it does not open, so that none is read as another."""
        account = replace(ACCOUNT, sealed_offset=keys.seal(ACCOUNT, 5))
        monkeypatch.setattr(shared_noise_keys, "SEAL_VERSION", shared_noise_keys.SEAL_VERSION + 1)
        assert keys.open(account) is None

    def test_it_is_bound_to_its_ledger(self, keys: SharedNoiseKeys, tmp_path: Path) -> None:
        """Under another ledger's name the same key and text do not open."""
        account = replace(ACCOUNT, sealed_offset=keys.seal(ACCOUNT, 5))
        other = SharedNoiseKeys(tmp_path / "secrets" / "offsets", "cd" * 16)
        assert other.open(account) is None
        keys.path(7).rename(other.path(7))
        assert other.open(account) is None

    def test_any_altered_bit_is_noticed(self, keys: SharedNoiseKeys) -> None:
        """A flipped bit in the sealed text makes the offset gone, never another one."""
        sealed = bytearray(base64.b64decode(keys.seal(ACCOUNT, 5)))
        for place in range(0, len(sealed), 5):
            altered = sealed.copy()
            altered[place] ^= 1
            account = replace(ACCOUNT, sealed_offset=base64.b64encode(altered).decode())
            assert (keys.open(account), keys.can_open(account)) == (None, False)

    def test_without_its_key_it_is_gone(self, keys: SharedNoiseKeys) -> None:
        """After destruction nothing opens it, and doing so twice is fine; other accounts keep theirs."""
        account = replace(ACCOUNT, sealed_offset=keys.seal(ACCOUNT, 5))
        other = replace(ACCOUNT, account=9)
        other = replace(other, sealed_offset=keys.seal(other, 6))
        keys.destroy([7])
        keys.destroy([7])
        assert (keys.open(account), keys.can_open(account), keys.open(other)) == (None, False, 6)
        assert keys.kept() == {9}

    def test_sealing_again_forgets_the_first(self, keys: SharedNoiseKeys) -> None:
        """A second seal under the same number has a new key: the first text is unreadable from then on."""
        first = replace(ACCOUNT, sealed_offset=keys.seal(ACCOUNT, 5))
        second = replace(ACCOUNT, sealed_offset=keys.seal(ACCOUNT, 5))
        assert first.sealed_offset != second.sealed_offset
        assert keys.open(second) == 5
        assert (keys.open(first), keys.can_open(first)) == (None, False)

    def test_nothing_kept_is_no_error(self, keys: SharedNoiseKeys) -> None:
        """Before the first opening there is no folder, no key and no offset."""
        assert keys.kept() == set()
        assert keys.open(ACCOUNT) is None
        assert not keys.can_open(replace(ACCOUNT, sealed_offset="AAAA"))
