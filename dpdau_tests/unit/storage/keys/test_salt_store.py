"""The salt store keeps one secret, for its owner only."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pytest

from dpdau_assets.core import hashing
from dpdau_assets.errors import ConfigurationError, DataError
from dpdau_assets.settings.written_values import secret_from_text
from dpdau_assets.storage.keys.salt_store import SaltStore, first_secret

SECRET = b"correct horse battery staple"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store goes."""
    return tmp_path / "data" / "secrets" / "salts.json"


def opened(path: Path, secret: bytes | None = None, **options: object) -> SaltStore:
    return SaltStore.open(path, create_secret=secret, rotation_days=90, **options)  # type: ignore[arg-type]


class TestCreation:
    def test_file_and_folder_are_for_the_owner_only(self, path: Path) -> None:
        """The file is 0600 in a folder 0700, and nothing temporary stays."""
        opened(path)
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert sorted(each.name for each in path.parent.iterdir()) == [".lock", "salts.json"]

    def test_without_a_secret_each_store_is_different(self, path: Path, tmp_path: Path) -> None:
        """Generated secrets are random."""
        assert opened(path).epoch_key(0) != opened(tmp_path / "b" / "salts.json").epoch_key(0)

    def test_a_given_secret_makes_the_same_store(self, path: Path, tmp_path: Path) -> None:
        """The same secret gives the same keys in another folder; another secret others."""
        first, second = opened(path, SECRET), opened(tmp_path / "b" / "salts.json", SECRET)
        other = opened(tmp_path / "c" / "salts.json", SECRET + b"!")
        assert first.epoch_key(3) == second.epoch_key(3) != other.epoch_key(3)
        assert first.identity() == second.identity() != other.identity()

    def test_the_given_secret_itself_is_not_stored(self, path: Path) -> None:
        """The file holds what is derived from HASH_SALT_SECRET, not the text."""
        opened(path, SECRET)
        content = path.read_bytes()
        assert SECRET not in content and SECRET.hex().encode() not in content

    def test_many_at_once_get_one_secret(self, path: Path) -> None:
        """Whoever opens a missing store at the same time sees the same keys."""
        with ThreadPoolExecutor(16) as pool:
            keys = set(pool.map(lambda _: opened(path).epoch_key(0), range(16)))
        assert len(keys) == 1

    def test_a_missing_store_is_not_made_when_data_depends_on_it(self, path: Path) -> None:
        """Once pseudonyms exist, a missing store is an error that makes nothing."""
        with pytest.raises(ConfigurationError, match="is missing"):
            opened(path, may_create=False)
        assert not path.exists()


class TestOpening:
    def test_keys_follow_the_ratchet(self, path: Path) -> None:
        """Epoch keys are those of the reference derivation, in any order of asking."""
        store = opened(path, SECRET)
        secret = first_secret(SECRET)
        keys = {0: hashing.epoch_key(secret)}
        for number in range(1, 6):
            secret = hashing.ratchet(secret, day=store.calendar.first_day(number), number=number)
            keys[number] = hashing.epoch_key(secret)
        for number in (4, 0, 5, 2, 4):
            assert store.epoch_key(number) == keys[number]
            assert len(store.epoch_key(number)) == 64

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
    def test_a_store_others_can_read_is_refused(self, path: Path, mode: int) -> None:
        """The error gives the command that mends it."""
        opened(path)
        path.chmod(mode)
        with pytest.raises(ConfigurationError, match="can be read by others") as caught:
            opened(path)
        assert caught.value.hint == f"chmod 600 '{path}'"

    def test_a_folder_others_can_change_is_refused(self, path: Path) -> None:
        """Nobody else may put another store in its place."""
        opened(path)
        path.parent.chmod(0o777)
        with pytest.raises(ConfigurationError, match="can be changed by others"):
            opened(path)
        path.parent.chmod(0o700)

    def test_another_secret_is_refused(self, path: Path) -> None:
        """HASH_SALT_SECRET may be repeated or left out later, not changed."""
        first = opened(path, SECRET)
        assert opened(path, SECRET).epoch_key(0) == opened(path).epoch_key(0) == first.epoch_key(0)
        with pytest.raises(ConfigurationError, match="is not the secret") as caught:
            opened(path, b"another")
        assert "another" not in caught.value.message

    def test_another_rotation_is_refused(self, path: Path) -> None:
        """A different number of days would key the same user differently."""
        opened(path)
        with pytest.raises(ConfigurationError, match="HASH_SALT_ROTATION_DAYS is 30"):
            SaltStore.open(path, create_secret=None, rotation_days=30)

    @pytest.mark.parametrize(
        "change",
        [
            lambda d: d.update(version=2),
            lambda d: d.pop("batch_key"),
            lambda d: d.update(secrets={}),
            lambda d: d.update(secrets={"0": "ab"}),
            lambda d: d.update(secrets={"0": "not hex"}),
            lambda d: d.update(segments=[{"epoch": 0}]),
        ],
    )
    def test_a_damaged_store_is_a_data_error(self, path: Path, change) -> None:
        """Every damage is named without quoting the content."""
        opened(path)
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))
        with pytest.raises(DataError, match="damaged or of another version"):
            opened(path)

    def test_a_torn_file_is_a_data_error(self, path: Path) -> None:
        """Half a file is not a store."""
        opened(path)
        path.write_bytes(path.read_bytes()[:50])
        with pytest.raises(DataError):
            opened(path)


class TestDestroyedEpochs:
    def test_lower_epochs_are_gone_and_later_ones_stay(self, path: Path) -> None:
        """With the lowest secret replaced by a higher one, earlier epochs cannot be keyed, later ones as before."""
        store = opened(path, SECRET)
        keys = {number: store.epoch_key(number) for number in range(6)}
        document = json.loads(path.read_text())
        document["secrets"] = {"3": store.without_epochs_below(3).document().secrets[3].hex()}
        path.write_text(json.dumps(document))
        later = opened(path, SECRET)
        assert later.lowest_epoch == 3
        assert [later.epoch_key(number) for number in (3, 4, 5)] == [keys[3], keys[4], keys[5]]
        with pytest.raises(DataError, match="epoch 2 was destroyed"):
            later.epoch_key(2)
        assert later.identity() == store.identity()


class TestSecretText:
    @pytest.mark.parametrize(
        ("text", "secret"), [("abc", b"abc"), ("b64:AAEC", b"\x00\x01\x02"), ("sälz", "sälz".encode()), ("b64", b"b64")]
    )
    def test_text_and_base64(self, text: str, secret: bytes) -> None:
        """Any text is itself; after b64: the bytes count."""
        assert secret_from_text(text) == secret

    @pytest.mark.parametrize("text", ["", "b64:", "b64:***", "b64:abc"])
    def test_no_secret_is_refused(self, text: str) -> None:
        """Nothing, or what is no base64, is refused without quoting it."""
        with pytest.raises(ConfigurationError) as caught:
            secret_from_text(text)
        assert "***" not in caught.value.message


class TestPrinting:
    def test_it_prints_as_nothing(self, path: Path) -> None:
        """No secret is in its text, and the fingerprint is none either."""
        store = opened(path, SECRET)
        store.epoch_key(0)
        content = json.loads(path.read_text())
        for text in (repr(store), str(store), store.fingerprint(), store.identity()):
            assert content["secrets"]["0"] not in text and content["batch_key"] not in text
            assert store.epoch_key(0).decode() not in text
        assert store.calendar.first_day(0) == date(1970, 1, 1)
