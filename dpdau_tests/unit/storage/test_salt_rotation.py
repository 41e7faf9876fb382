"""A salt store that is rotated and shortened: what stays the same, what is new, and what is gone for good."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import pytest

from dpdau_assets.errors import ConfigurationError, DataError
from dpdau_assets.storage.keys import salt_file
from dpdau_assets.storage.keys.salt_store import SaltStore

SECRET = b"correct horse battery staple"
EFFECTIVE = date(2026, 9, 1)
EPOCH = 230
NOW = "2026-08-30T12:00:00.000000+00:00"


def opened(path: Path, *, rotation_days: int = 90, **options: object) -> SaltStore:
    return SaltStore.open(path, create_secret=SECRET, rotation_days=rotation_days, **options)  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store is."""
    place = tmp_path / "data" / "secrets" / "salts.json"
    opened(place)
    return place


def rotated(store: SaltStore, *, secret: bytes | None = None, effective: date = EFFECTIVE, days: int = 90) -> SaltStore:
    return store.rotated(effective, rotation_days=days, secret=secret, made_at=NOW)


class TestRotated:
    def test_earlier_epochs_keep_their_keys_and_the_new_one_follows_from_nothing_before(self, path: Path) -> None:
        """Keys before the date stay; the key from it on is neither the ratcheted one nor the same twice."""
        store = opened(path)
        first, second = rotated(store), rotated(store)
        assert first.calendar.epoch_of(EFFECTIVE) == store.calendar.epoch_of(EFFECTIVE) + 1 == EPOCH
        for epoch in (0, 200, EPOCH - 1):
            assert first.epoch_key(epoch) == store.epoch_key(epoch)
        keys = {store.epoch_key(EPOCH), first.epoch_key(EPOCH), second.epoch_key(EPOCH)}
        assert len(keys) == 3
        assert len({one.epoch_key(EPOCH + 3) for one in (store, first, second)}) == 3

    def test_a_given_secret_gives_the_same_key_again(self, path: Path) -> None:
        """The same secret on the same date is the same rotation; on another date or for other bytes it is another."""
        store = opened(path)
        first = rotated(store, secret=b"a new secret")
        assert first.epoch_key(EPOCH) == rotated(store, secret=b"a new secret").epoch_key(EPOCH)
        assert first.epoch_key(EPOCH) != rotated(store, secret=b"another").epoch_key(EPOCH)
        other_date = rotated(store, secret=b"a new secret", effective=date(2026, 9, 2))
        assert first.epoch_key(EPOCH) != other_date.epoch_key(EPOCH)

    def test_it_is_recognised_when_asked_for_again(self, path: Path) -> None:
        """Date, length and secret tell a repeat from another rotation."""
        first = rotated(opened(path), secret=b"a new secret", days=30)
        assert first.has_rotation(EFFECTIVE, rotation_days=30, secret=b"a new secret")
        assert first.has_rotation(EFFECTIVE, rotation_days=30, secret=None)
        assert not first.has_rotation(EFFECTIVE, rotation_days=30, secret=b"another")
        assert not first.has_rotation(EFFECTIVE, rotation_days=90, secret=None)
        assert not first.has_rotation(date(2026, 9, 2), rotation_days=30, secret=None)
        assert not opened(path).has_rotation(date(1970, 1, 1), rotation_days=90, secret=None)

    def test_fingerprints_differ_by_date_and_secret_and_the_identity_stays(self, path: Path) -> None:
        """Two rotations with different random secrets on one date are told apart."""
        store = opened(path)
        first, second = rotated(store), rotated(store)
        assert len({store.fingerprint(), first.fingerprint(), second.fingerprint()}) == 3
        assert store.identity() == first.identity()

    def test_the_file_holds_what_the_object_holds(self, path: Path) -> None:
        """A stored rotation opens as the same store, under the new length only, and its record names no secret."""
        store = rotated(opened(path), days=30)
        salt_file.put(path, store.document())
        again = opened(path, rotation_days=30)
        assert [again.epoch_key(epoch) for epoch in (0, EPOCH, EPOCH + 5)] == [
            store.epoch_key(epoch) for epoch in (0, EPOCH, EPOCH + 5)
        ]
        (record,) = again.rotations()
        assert (record.effective, record.epoch, record.rotation_days, record.made_at) == (EFFECTIVE, EPOCH, 30, NOW)
        assert record.fingerprint == again.fingerprint() == store.fingerprint()
        with pytest.raises(ConfigurationError, match="HASH_SALT_ROTATION_DAYS is 90"):
            opened(path)

    def test_each_record_keeps_the_fingerprint_of_its_time(self, path: Path) -> None:
        """A later rotation does not change what an earlier one was known by."""
        first = rotated(opened(path))
        second = rotated(first, effective=date(2026, 10, 5))
        assert [record.fingerprint for record in second.rotations()] == [first.fingerprint(), second.fingerprint()]


class TestInterrupted:
    def test_the_ledger_says_which_file_is_the_store(self, path: Path) -> None:
        """A store in waiting takes its place when the ledger has its fingerprint, and is left alone otherwise."""
        old, new = opened(path), rotated(opened(path))
        salt_file.put_pending(path, new.document())
        assert opened(path, recorded=old.fingerprint()).fingerprint() == old.fingerprint()
        assert salt_file.pending_path(path).exists()
        assert opened(path, recorded=new.fingerprint()).epoch_key(EPOCH) == new.epoch_key(EPOCH)
        assert not salt_file.pending_path(path).exists()
        assert opened(path).fingerprint() == new.fingerprint()

    def test_a_destruction_is_completed(self, path: Path) -> None:
        """A store that still holds what the ledger calls destroyed loses it when it is opened."""
        assert opened(path, lowest_epoch=7).lowest_epoch == 7
        assert opened(path).lowest_epoch == 7


class TestDestroyed:
    def test_no_file_and_no_object_can_give_the_key_again(self, path: Path) -> None:
        """Later keys stay, earlier ones are refused, and no secret of an earlier epoch is in any file beside it."""
        store = opened(path)
        gone = [store.without_epochs_below(epoch).document().secrets[epoch].hex().encode() for epoch in range(5)]
        later = {epoch: store.epoch_key(epoch) for epoch in (5, 6, EPOCH)}
        salt_file.put_pending(path, rotated(store).document())  # a rotation that was killed before its commit
        (path.parent / ".salts.json.tmp-1-2-3").write_bytes(gone[0])
        assert store.destroy_below(5, path=path)
        for held in (store, opened(path)):
            assert {epoch: held.epoch_key(epoch) for epoch in later} == later
            for epoch in range(5):
                with pytest.raises(DataError, match="was destroyed"):
                    held.epoch_key(epoch)
        files = [file.read_bytes() for file in path.parent.iterdir()]
        assert not [secret for secret in gone for content in files if secret in content]
        assert sorted(file.name for file in path.parent.iterdir()) == [".lock", "salts.json"]

    def test_the_replaced_file_is_overwritten(self, path: Path, tmp_path: Path) -> None:
        """The bytes of the old file are zeros afterwards, so that the freed blocks hold no secret."""
        os.link(path, tmp_path / "the old file")
        opened(path).destroy_below(3, path=path)
        assert set((tmp_path / "the old file").read_bytes()) == {0}

    def test_the_file_that_a_rotation_replaces_is_overwritten(self, path: Path) -> None:
        """Its secrets are in the new store, too; but when they are destroyed there, nobody would look for the old."""
        with path.open("rb") as old:
            store = rotated(opened(path))
            salt_file.put_pending(path, store.document())
            assert salt_file.take_pending(path, is_wanted=lambda _: True)
            assert set(old.read()) == {0}
        assert opened(path).fingerprint() == store.fingerprint()
        assert {one.name for one in path.parent.iterdir()} == {path.name, ".lock"}

    def test_wiping_temporary_files_never_removes_the_store(self, path: Path) -> None:
        """A second name of the store itself, left by a kill before the store was replaced, goes without being wiped."""
        content = path.read_bytes()
        os.link(path, path.with_name(".salts.json.tmp-1-1-ab"))
        salt_file.wipe_temporary(path)
        assert path.read_bytes() == content
        assert {one.name for one in path.parent.iterdir()} == {path.name, ".lock"}

    def test_a_repeat_changes_nothing(self, path: Path) -> None:
        """Destroying what is destroyed is no change; the fingerprint stays throughout."""
        store = opened(path)
        before = store.fingerprint()
        assert store.destroy_below(3, path=path)
        content = path.read_bytes()
        assert not store.destroy_below(3, path=path)
        assert not store.destroy_below(2, path=path)
        assert path.read_bytes() == content
        assert store.fingerprint() == opened(path).fingerprint() == before

    def test_manual_rotations_outlive_their_secrets(self, path: Path) -> None:
        """Past a manual rotation its secret goes, its record stays, and the epochs after it are keyed as before."""
        store = rotated(opened(path), days=30)
        salt_file.put(path, store.document())
        fingerprint, key = store.fingerprint(), store.epoch_key(EPOCH + 2)
        store.destroy_below(EPOCH + 2, path=path)
        again = opened(path, rotation_days=30)
        assert (again.fingerprint(), again.epoch_key(EPOCH + 2)) == (fingerprint, key)
        assert again.rotations()[0].fingerprint == fingerprint
        with pytest.raises(DataError):
            again.epoch_key(EPOCH)
        assert len(again.document().secrets) == 1

    def test_the_given_first_secret_is_still_checked(self, path: Path) -> None:
        """With low epochs gone and a rotation made, another HASH_SALT_SECRET is still refused."""
        store = rotated(opened(path))
        salt_file.put(path, store.document())
        store.destroy_below(EPOCH + 1, path=path)
        assert opened(path).lowest_epoch == EPOCH + 1
        with pytest.raises(ConfigurationError, match="HASH_SALT_SECRET is not the secret"):
            SaltStore.open(path, create_secret=b"another", rotation_days=90)
