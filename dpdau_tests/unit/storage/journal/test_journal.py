"""The journal holds every transaction before it commits, and only it decides what was last."""

from __future__ import annotations

import os
import stat
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import make_url, text

from dpdau_assets.errors import DataError, StorageError
from dpdau_assets.storage.journal import journal
from dpdau_assets.storage.journal.journal import Journal, anchor_of
from dpdau_assets.storage.journal.lines import Anchor, Line, decode, files_in, read
from dpdau_assets.storage.journal.replay import Replay
from dpdau_assets.storage.ledger import accounts, batches, erasures, releases
from dpdau_assets.storage.ledger.erasures import Tombstones
from dpdau_assets.storage.ledger.ledger import Ledger, create_or_open, get_meta, set_meta

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = date(2026, 2, 3)


class OneKey:
    """A salt store of one key for every epoch."""

    def epoch_key(self, epoch: int) -> bytes:
        """That key."""
        return f"{epoch:064}".encode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the journal is."""
    return tmp_path / "journal"


def opened(tmp_path: Path, folder: Path, *, mirror: Path | None = None) -> Ledger:
    """A ledger with a journal, made at the first call."""
    made = Journal(folder, mirror=mirror)
    made.keys, made.redo = OneKey(), Replay(OneKey()).redo
    return create_or_open(f"sqlite:///{tmp_path}/ledger.sqlite", journal=made)


def write_fact(ledger: Ledger, key: str, value: str) -> None:
    """One transaction that sets one fact."""
    with ledger.write() as connection:
        set_meta(connection, key, value)


def facts_in(lines: tuple[Line, ...]) -> list[str]:
    """The values of the facts that lines note."""
    entries = [entry for line in lines for entry in line.document()["notes"]]
    return [entry["value"] for entry in entries if entry["note"] == "fact"]


def anchor(ledger: Ledger) -> Anchor:
    """The line that the ledger holds as its last."""
    with ledger.read() as connection:
        return anchor_of(connection)


class TestLines:
    def test_each_transaction_leaves_one_line_and_the_ledger_names_the_last(self, tmp_path: Path, folder: Path) -> None:
        """Lines chain from the creation on, and the ledger's anchor is the last of them."""
        ledger = opened(tmp_path, folder)
        for number in range(3):
            write_fact(ledger, "x", str(number))
        found = read(folder)
        assert [line.seq for line in found.lines] == [1, 2, 3, 4] and found.gap is None
        assert found.lines[0].document()["notes"][0]["note"] == "created"
        assert found.lines[-1].anchor == anchor(ledger)
        assert facts_in(found.lines) == ["0", "1", "2"]

    def test_a_transaction_without_notes_or_that_fails_leaves_no_line(self, tmp_path: Path, folder: Path) -> None:
        """A block that raises, and one that tells nothing, change no byte of the journal."""
        ledger = opened(tmp_path, folder)
        before = files_in(folder)[0].read_bytes()
        with pytest.raises(ZeroDivisionError), ledger.write() as connection:
            set_meta(connection, "x", "1")
            raise ZeroDivisionError
        with ledger.write() as connection:
            set_meta(connection, "partition_version", "7")
        assert files_in(folder)[0].read_bytes() == before
        write_fact(ledger, "y", "2")
        assert facts_in(read(folder).lines) == ["2"]

    def test_files_are_for_their_owner_only_and_end_at_their_size(
        self, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Files are 0600 in a 0700 folder, and a full one is followed by the next number."""
        monkeypatch.setattr(journal, "FILE_BYTES", 700)
        ledger = opened(tmp_path, folder)
        for number in range(6):
            write_fact(ledger, "x", str(number))
        found = files_in(folder)
        assert len(found) > 2 and found[0].name == "journal-000001.jsonl"
        assert {stat.S_IMODE(path.stat().st_mode) for path in found} == {0o600}
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert [line.seq for line in read(folder).lines] == list(range(1, 8))

    def test_an_altered_line_is_none(self, tmp_path: Path, folder: Path) -> None:
        """A line with one flipped bit anywhere is not a line."""
        write_fact(opened(tmp_path, folder), "x", "1")
        line = files_in(folder)[0].read_bytes().splitlines()[1]
        assert decode(line) is not None
        for position in range(0, len(line), 7):
            changed = bytearray(line)
            changed[position] ^= 4
            assert decode(bytes(changed)) is None

    def test_pseudonyms_stand_in_no_clear_and_open_with_their_epoch(self, tmp_path: Path, folder: Path) -> None:
        """Tombstones are sealed under their epoch; replaying the line gives the same rows."""
        ledger = opened(tmp_path, folder)
        keys = np.array([33_333_333_333, 2**63 + 5, 77_777_777_777_777], np.uint64)
        tombstones = Tombstones.until(keys, DAY)
        with ledger.write() as connection:
            erasures.request(
                connection, "r", through_day=DAY, tombstones={4: tombstones, 9: tombstones}, users=3, now=NOW
            )
        content = files_in(folder)[0].read_bytes()
        assert all(str(key).encode() not in content for key in keys.tolist())
        assert all(int(key).to_bytes(8, "little") not in content for key in keys.tolist())
        copy = create_or_open(f"sqlite:///{tmp_path}/copy.sqlite")
        with copy.write() as connection:
            replay = Replay(OneKey(), lowest_epoch=5)
            for line in read(folder).lines:
                replay.apply(connection, line)
            assert erasures.epochs(connection) == [9]
            found = erasures.tombstones(connection, 9)
            assert found.keys.tolist() == sorted(keys.tolist())
            assert set(found.through.tolist()) == {DAY}


class TestCrashes:
    def test_a_torn_tail_is_closed_and_skipped(self, tmp_path: Path, folder: Path) -> None:
        """Bytes of a line that was never finished hide neither the lines before nor those after."""
        ledger = opened(tmp_path, folder)
        with files_in(folder)[0].open("ab") as stream:
            stream.write(b'{"seq":2,"previous":"')
        write_fact(ledger, "x", "1")
        found = read(folder)
        assert [line.seq for line in found.lines] == [1, 2] and found.gap is None

    def test_what_was_noted_but_not_committed_is_done_again(
        self, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A draw whose commit failed is stored by the next writer, not drawn again."""
        ledger = opened(tmp_path, folder)
        with pytest.raises(ZeroDivisionError):
            lose_commit(ledger, monkeypatch)
        with ledger.read() as connection:
            assert releases.find_release(connection, "dau", DAY) is None
        with ledger.write() as connection:
            found = releases.find_release(connection, "dau", DAY)
            assert found is not None and found.drawn == 41
            assert accounts.lifetime_events(connection) == ()
            set_meta(connection, "after", "1")
        lines = read(folder)
        assert [line.seq for line in lines.lines] == [1, 2, 3] and lines.gap is None
        assert lines.lines[-1].anchor == anchor(ledger)

    def test_two_deaths_in_a_row_between_line_and_commit_lose_nothing(
        self, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The line of the first is committed by itself before the second writes its own, so both are done again."""
        ledger = opened(tmp_path, folder)
        assert ledger.journal is not None
        whole = ledger.journal.flush

        def flush_then_die(connection: journal.Connection) -> None:
            whole(connection)
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            lose_commit(ledger, monkeypatch)
        for value in ("1", "2"):
            with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
                patched.setattr(ledger.journal, "flush", flush_then_die)
                write_fact(ledger, "x", value)
        write_fact(ledger, "y", "3")
        with ledger.read() as connection:
            found = releases.find_release(connection, "dau", DAY)
            assert found is not None and found.drawn == 41
            assert (get_meta(connection, "x"), get_meta(connection, "y")) == ("2", "3")
        lines = read(folder)
        assert [line.seq for line in lines.lines] == [1, 2, 3, 4, 5] and lines.gap is None
        assert lines.lines[-1].anchor == anchor(ledger)

    def test_a_batch_that_was_noted_but_not_committed_is_void(
        self, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The next line takes the place of a line that goes with files; the last of both counts."""
        ledger = opened(tmp_path, folder)
        with pytest.raises(ZeroDivisionError):
            lose_commit(ledger, monkeypatch, with_batch=True)
        write_fact(ledger, "x", "later")
        with ledger.read() as connection:
            assert batches.last_seq(connection) == 0
        found = read(folder)
        assert [line.seq for line in found.lines] == [1, 2] and found.gap is None
        assert facts_in(found.lines) == ["later"]

    def test_an_append_that_fails_rolls_the_transaction_back(
        self, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A full disk under the journal is one clear error, and nothing is in the ledger or in the journal."""
        ledger = opened(tmp_path, folder)
        before = files_in(folder)[0].read_bytes()

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match="disk is full"):
            write_fact(ledger, "x", "1")
        monkeypatch.undo()
        assert files_in(folder)[0].read_bytes() == before
        with ledger.read() as connection:
            assert get_meta(connection, "x") is None
        write_fact(ledger, "x", "2")
        assert facts_in(read(folder).lines) == ["2"]

    def test_a_ledger_older_than_its_journal_is_not_written(self, tmp_path: Path, folder: Path) -> None:
        """An old copy put back in place refuses to write and names the command that mends it."""
        ledger = opened(tmp_path, folder)
        write_fact(ledger, "x", "0")
        ledger.scrub()
        ledger.close()
        old = (tmp_path / "ledger.sqlite").read_bytes()
        ledger = opened(tmp_path, folder)
        for number in (1, 2):
            write_fact(ledger, "x", str(number))
        ledger.scrub()
        ledger.close()
        (tmp_path / "ledger.sqlite").write_bytes(old)
        ledger = Ledger(make_url(f"sqlite:///{tmp_path}/ledger.sqlite"), journal=Journal(folder))
        with pytest.raises(DataError, match="older than its journal") as refused:
            write_fact(ledger, "x", "3")
        assert "dpdau restore" in refused.value.hint
        with pytest.raises(DataError, match="older than its journal"):
            Journal(folder).check(lambda: anchor(ledger), ledger_id="any")


class TestGaps:
    @pytest.fixture
    def whole(self, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A journal of seven lines in several files."""
        monkeypatch.setattr(journal, "FILE_BYTES", 700)
        ledger = opened(tmp_path, folder)
        for number in range(6):
            write_fact(ledger, "x", str(number))
        return folder

    def test_a_lost_file_in_the_middle_is_a_gap_and_the_rest_is_read(self, whole: Path) -> None:
        """Lines before and after a lost file are found; the gap says between which times."""
        files = files_in(whole)
        files[1].unlink()
        found = read(whole)
        seqs = [line.seq for line in found.lines]
        assert found.gap is not None and seqs[0] == 1 and seqs[-1] == 7 and len(seqs) < 7
        before = next(line for line in found.lines if line.seq == found.gap.after)
        assert found.gap.since == before.at and found.gap.until is not None and found.gap.until > before.at

    @pytest.mark.parametrize("seq", [2, 4, 6])
    def test_one_damaged_line_is_a_gap(self, whole: Path, seq: int) -> None:
        """A flipped byte in a line that is not the last is a gap of that line."""
        line = read(whole).lines[seq - 1]
        content = bytearray(line.path.read_bytes())
        content[line.offset + 10] ^= 1
        line.path.write_bytes(content)
        found = read(whole)
        assert [each.seq for each in found.lines] == [each for each in range(1, 8) if each != seq]
        assert found.gap is not None and found.gap.after == seq - 1

    def test_a_lost_anchor_is_told(self, whole: Path, tmp_path: Path) -> None:
        """Lines after a place whose own line and follower are lost do not start there."""
        lines = read(whole).lines
        assert read(whole, after=lines[2].anchor).starts_at_anchor
        for path in files_in(whole):
            path.unlink()
        found = read(whole, after=lines[2].anchor)
        assert not found.starts_at_anchor and found.lines == ()


class TestMirror:
    def test_two_copies_are_the_same_and_each_line_comes_from_the_better(self, tmp_path: Path, folder: Path) -> None:
        """A damaged line of one copy is taken from the other."""
        mirror = tmp_path / "elsewhere" / "mirror"
        ledger = opened(tmp_path, folder, mirror=mirror)
        for number in range(4):
            write_fact(ledger, "x", str(number))
        first, second = files_in(folder)[0], files_in(mirror)[0]
        assert first.read_bytes() == second.read_bytes()
        lines = read(folder).lines
        for path, line in ((first, lines[1]), (second, lines[3])):
            content = bytearray(path.read_bytes())
            content[line.offset + 5] ^= 1
            path.write_bytes(content)
        assert read(folder).gap is not None and read(mirror).gap is not None
        found = read(folder, mirror)
        assert [line.seq for line in found.lines] == [1, 2, 3, 4, 5] and found.gap is None

    @pytest.mark.parametrize("lost", ["journal", "mirror"])
    def test_a_lost_copy_comes_back_from_the_other(self, tmp_path: Path, lost: str) -> None:
        """The next process that writes makes both copies whole again."""
        folder, mirror = tmp_path / "journal", tmp_path / "mirror"
        ledger = opened(tmp_path, folder, mirror=mirror)
        write_fact(ledger, "x", "0")
        (files_in(tmp_path / lost)[0]).unlink()
        write_fact(opened(tmp_path, folder, mirror=mirror), "x", "1")
        assert files_in(folder)[0].read_bytes() == files_in(mirror)[0].read_bytes()
        assert len(read(folder).lines) == 3

    def test_a_line_torn_before_there_was_a_ledger_leaves_the_copies_the_same(self, tmp_path: Path) -> None:
        """A creation that was killed in the middle of its line is ended alike in both copies."""
        folder, mirror = tmp_path / "journal", tmp_path / "mirror"
        folder.mkdir()
        (folder / "journal-000001.jsonl").write_bytes(b'{"seq":1,"prev')
        opened(tmp_path, folder, mirror=mirror)
        assert files_in(folder)[0].read_bytes() == files_in(mirror)[0].read_bytes()
        assert [line.seq for line in read(folder).lines] == [1]

    def test_a_mirror_that_refuses_stops_the_transaction(self, tmp_path: Path, folder: Path) -> None:
        """Nothing commits that is not in both copies, and the first copy takes its line back."""
        mirror = tmp_path / "mirror"
        ledger = opened(tmp_path, folder, mirror=mirror)
        before = files_in(folder)[0].read_bytes()
        files_in(mirror)[0].unlink()
        mirror.rmdir()
        mirror.write_text("a file is in the way")
        with pytest.raises(StorageError):
            write_fact(ledger, "x", "1")
        assert files_in(folder)[0].read_bytes() == before
        with ledger.read() as connection:
            assert get_meta(connection, "x") is None


class TestReplay:
    def test_rows_come_back_the_same_and_replaying_twice_changes_nothing(self, tmp_path: Path, folder: Path) -> None:
        """Accounts, charges, releases and resets of a replayed journal are those of the ledger."""
        ledger = opened(tmp_path, folder)
        with ledger.write() as connection:
            release(connection)
            accounts.record_reset(connection, "dau", "2026-02", reason="approved", now=NOW)
        copy = create_or_open(f"sqlite:///{tmp_path}/copy.sqlite")
        for _ in range(2):
            with copy.write() as connection:
                for line in read(folder).lines:
                    Replay(OneKey()).apply(connection, line)
        for table in ("accounts", "charges", "releases", "resets", "batches"):
            with ledger.read() as one, copy.read() as other:
                query = text(f"SELECT * FROM {table}")
                assert one.execute(query).all() == other.execute(query).all() != []

    def test_a_row_that_differs_is_refused(self, tmp_path: Path, folder: Path) -> None:
        """A ledger with another value under the same number is not mixed with the journal."""
        ledger = opened(tmp_path, folder)
        with ledger.write() as connection:
            release(connection)
        with ledger.write() as connection:
            connection.execute(text("UPDATE releases SET drawn = 42"))
        with pytest.raises(DataError, match="disagree about row 1 of releases"), ledger.write() as connection:
            for line in read(folder).lines:
                Replay(OneKey()).apply(connection, line)

    def test_a_charge_brings_its_account_along(self, tmp_path: Path, folder: Path) -> None:
        """When the line that opened an account is lost, its charges still count under its terms."""
        ledger = opened(tmp_path, folder)
        with ledger.write() as connection:
            account = open_account(connection)
        with ledger.write() as connection:
            accounts.insert_charge(connection, account, day=DAY, kind="release", events=(), now=NOW)
        copy = create_or_open(f"sqlite:///{tmp_path}/copy.sqlite")
        with copy.write() as connection:
            Replay(OneKey()).apply(connection, read(folder).lines[-1])
            assert accounts.current_account(connection, "dau", "2026-02") == account


def open_account(connection: journal.Connection) -> accounts.Account:
    """An open account of February."""
    return accounts.open_account(
        connection,
        "dau",
        "2026-02",
        mechanism="gaussian",
        parameters={"stddev": 12.5},
        epsilon_cap=3.0,
        delta=1e-6,
        month_cap=6.0,
        year_cap=29.0,
        now=NOW,
    )


def release(connection: journal.Connection) -> None:
    """An account, its charge and the release of a day, and a batch."""
    batches.record(
        connection,
        "b" * 32,
        source_format="csv",
        events=4,
        accepted=3,
        rejected={"no_user": 1},
        erasures=0,
        files=[(DAY, 1, "d" * 64)],
        now=NOW,
    )
    draw(connection)


def draw(connection: journal.Connection) -> None:
    """An account, its charge and the release of a day."""
    account = open_account(connection)
    charge = accounts.insert_charge(connection, account, day=DAY, kind="release", events=(), now=NOW)
    releases.insert_release(
        connection, charge, metric="dau", day=DAY, revision=0, drawn=41, result={"a": [1.5]}, reason=None, now=NOW
    )


def lose_commit(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, *, with_batch: bool = False) -> None:
    """A transaction that dies after its line was written and before it commits."""
    assert ledger.journal is not None
    whole = ledger.journal.flush

    def flush_then_die(connection: journal.Connection) -> None:
        whole(connection)
        raise ZeroDivisionError

    with monkeypatch.context() as patched, ledger.write() as connection:
        patched.setattr(ledger.journal, "flush", flush_then_die)
        release(connection) if with_batch else draw(connection)
