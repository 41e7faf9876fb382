"""Erasure: requested once, the users leave every file, and no order of events brings them back."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.errors import InputError, StorageError
from dpdau_assets.operations.erase.request import erasure_status, request_erasure
from dpdau_assets.operations.pipeline import raw_events as fold_module
from dpdau_assets.operations.pipeline.bring_up_to_date import bring_up_to_date
from dpdau_assets.operations.pipeline.erasure_replay import flush_deletes, replay_erasures
from dpdau_assets.operations.pipeline.raw_events import fold
from dpdau_assets.operations.pipeline.trusted_counts import count_trusted
from dpdau_assets.operations.recover.rebuild import rebuild
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.ledger import erasures, partitions
from dpdau_assets.storage.ledger import ledger as ledgers
from dpdau_tests.support.naive import naive_counts
from dpdau_tests.support.workspaces import (
    LONG_AFTER,
    Event,
    copy_of,
    digests,
    files_holding,
    key_files,
    new_workspace,
    stage_activity,
)

pytestmark = [pytest.mark.untraced, pytest.mark.one_is_enough]

FIRST = date(2026, 3, 20)  # an epoch began on 2026-03-08: the first days are keyed under two
DAYS = DayRange(FIRST, FIRST + timedelta(days=34))
EVENTS: list[Event] = [
    (f"user-{number}", FIRST + timedelta(days=offset))
    for number in range(60)
    for offset in range(35)
    if (number * 5 + offset * 7) % 11 < 4
]
GONE = "user-3"


@pytest.fixture(scope="module", params=["set", "kmv"])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A built data folder, with sketches that are saturated where they are kmv; tests work on copies."""
    workspace = new_workspace(tmp_path_factory.mktemp("built"), sketch_impl=request.param, sketch_k=16)
    stage_activity(workspace, EVENTS)
    bring_up_to_date(workspace, DAYS)
    return workspace


@pytest.fixture
def workspace(built: Workspace, tmp_path: Path) -> Workspace:
    """A copy of the built folder."""
    return copy_of(built, tmp_path / "data")


def erase(workspace: Workspace, *users: str, through: date = DAYS.last) -> Any:
    return request_erasure(workspace, [user.encode() for user in users], through=through, now=LONG_AFTER)


def pending(workspace: Workspace) -> int:
    with workspace.ledger.read() as connection:
        return len(erasures.pending(connection))


class TestRequestErasure:
    def test_receipt_counts_distinct_and_known_users(self, workspace: Workspace) -> None:
        """Repeats in a request count once, and users erased through that day before are known."""
        first = erase(workspace, "user-1", "user-1", "user-2")
        second = erase(workspace, "user-2", "user-4", through=DAYS.last - timedelta(days=3))
        third = erase(workspace, "user-2", through=DAYS.last + timedelta(days=1))
        assert (first.requested, first.already_known) == (2, 0)
        assert (second.requested, second.already_known) == (2, 1)
        assert (third.requested, third.already_known) == (1, 0)
        assert len({first.request, second.request, third.request}) == 3

    def test_bad_ids_and_days_are_refused_without_showing_them(self, workspace: Workspace) -> None:
        """No id, an id no event can have and a day out of range are refused, and no id is in the message."""
        secret = "a-very-secret-name"
        bad: list[tuple[list[bytes], date]] = [
            ([], DAYS.last),
            ([secret.encode() * 100], DAYS.last),
            ([b""], DAYS.last),
            ([secret.encode() + b"\xff"], DAYS.last),
            ([secret.encode()], date(1969, 12, 31)),
            ([secret.encode()], LONG_AFTER.date() + timedelta(days=2)),
        ]
        for users, through in bad:
            with pytest.raises(InputError) as caught:
                request_erasure(workspace, users, through=through, now=LONG_AFTER)
            assert secret not in f"{caught.value} {caught.value.hint}"
        assert erasure_status(workspace) == []

    def test_status_tells_when_a_request_was_completed(self, workspace: Workspace) -> None:
        """A request is listed as open until a flush, and as completed after it."""
        receipt = erase(workspace, GONE)
        (open_request,) = erasure_status(workspace)
        assert (open_request["request"], open_request["users"], open_request["completed_at"]) == (
            receipt.request,
            1,
            None,
        )
        assert flush_deletes(workspace) == 1
        (done,) = erasure_status(workspace)
        assert done["completed_at"] is not None
        assert flush_deletes(workspace) == 0

    def test_series_start_bounds_the_epochs(self, tmp_path: Path) -> None:
        """With SERIES_START tombstones reach from a year before the first window to the last erased day."""
        workspace = new_workspace(tmp_path / "data", series_start=date(2026, 3, 1), hash_salt_rotation_days=7)
        erase(workspace, GONE, through=date(2026, 3, 10))
        calendar = workspace.salts.calendar
        with workspace.ledger.read() as connection:
            epochs = erasures.epochs(connection)
            assert erasures.tombstone_floor(connection) == date(2025, 1, 30)
        assert epochs == list(range(calendar.epoch_of(date(2025, 1, 1)), calendar.epoch_of(date(2026, 3, 10)) + 1))


class TestFlush:
    def test_counts_are_those_of_the_definition(self, workspace: Workspace) -> None:
        """After a flush the counts are those of the log without the erased days; a return counts again."""
        middle = FIRST + timedelta(days=17)
        erase(workspace, GONE, "user-7", through=middle)
        flush_deletes(workspace)
        expected = naive_counts(EVENTS, [(GONE, middle), ("user-7", middle)], DAYS)
        assert count_trusted(workspace, DAYS.first, DAYS.last) == expected
        assert expected != naive_counts(EVENTS, [], DAYS)

    def test_no_file_holds_the_erased(self, workspace: Workspace) -> None:
        """After a flush no file of the folder holds the pseudonym under any epoch; before, several do."""
        stage_activity(workspace, [(GONE, DAYS.last), ("user-1", DAYS.last)])
        assert files_holding(workspace, GONE, first=DAYS.first, last=DAYS.last)
        erase(workspace, GONE)
        flush_deletes(workspace)
        assert files_holding(workspace, GONE, first=DAYS.first, last=DAYS.last) == []

    def test_the_lake_is_that_of_a_log_without_the_user(self, workspace: Workspace, tmp_path: Path) -> None:
        """After a flush every byte is what it would be had the user never been there."""
        erase(workspace, GONE)
        flush_deletes(workspace)
        impl = workspace.settings.sketch_impl
        other = new_workspace(tmp_path / "other", sketch_impl=impl, sketch_k=16)
        stage_activity(other, [(user, day) for user, day in EVENTS if user != GONE])
        bring_up_to_date(other, DAYS)
        assert key_files(workspace) == key_files(other)
        assert digests(workspace) == digests(other)

    def test_a_second_flush_changes_nothing(self, workspace: Workspace) -> None:
        """Erasing the same users through the same day again leaves every byte and digest as it was."""
        erase(workspace, GONE)
        flush_deletes(workspace)
        before, recorded = key_files(workspace), digests(workspace)
        assert erase(workspace, GONE).already_known == 1
        flush_deletes(workspace)
        assert (key_files(workspace), digests(workspace)) == (before, recorded)

    def test_late_activity_does_not_bring_the_user_back(self, workspace: Workspace) -> None:
        """Activity that arrives after the erasure of its day is never counted, nor stored."""
        erase(workspace, GONE)
        flush_deletes(workspace)
        before = digests(workspace)
        stage_activity(workspace, [(GONE, FIRST + timedelta(days=offset)) for offset in range(35)])
        bring_up_to_date(workspace, DAYS)
        assert digests(workspace) == before
        assert files_holding(workspace, GONE, first=DAYS.first, last=DAYS.last) == []

    def test_open_days_are_cleaned_while_they_stay_staged(self, tmp_path: Path) -> None:
        """Erased users leave staged files of days that are still open; a file without other users goes."""
        now = datetime(2026, 4, 1, 12, tzinfo=UTC)
        workspace = new_workspace(tmp_path / "data", now=now)
        today = now.date()
        stage_activity(workspace, [(GONE, today), ("user-1", today)])
        stage_activity(workspace, [(GONE, today)])
        request_erasure(workspace, [GONE.encode()], through=today, now=now)
        flush_deletes(workspace)
        assert files_holding(workspace, GONE, first=today, last=today) == []
        assert len(list((workspace.lake.root / "staging").rglob("*.parquet"))) == 2  # two epochs of user-1
        assert count_trusted(workspace, today, today) == [{"day": today.isoformat(), "dau": 1, "wau": 1, "mau": 1}]

    def test_nothing_links_the_tombstones_of_a_person(self, workspace: Workspace) -> None:
        """After completion no tombstone names its request, and none is pending; the tombstones stay."""
        erase(workspace, GONE)
        flush_deletes(workspace)
        with workspace.ledger.read() as connection:
            rows = connection.exec_driver_sql("SELECT seq, pending FROM erasure_log").all()
        assert len(rows) >= 2
        assert set(rows) == {(None, 0)}

    def test_every_row_of_the_range_is_saved_alike(self, workspace: Workspace) -> None:
        """Which days a user was found on cannot be read from the times or versions of the rows."""
        with workspace.ledger.read() as connection:
            before = partitions.last_version(connection)
        only_day = FIRST + timedelta(days=20)
        stage_activity(workspace, [("one-day-user", only_day)])
        bring_up_to_date(workspace, DAYS)
        erase(workspace, "one-day-user")
        flush_deletes(workspace)
        with workspace.ledger.read() as connection:
            rows = partitions.load(connection, ["raw_events", "erasure_replay", "daily_sketches", "mau_unions"])
        assert {row.applied_erasure_seq for row in rows.values()} == {1}
        assert min(row.version for row in rows.values()) > before

    def test_a_request_pending_after_the_cut_stays_pending(self, workspace: Workspace) -> None:
        """A flush completes what it applied; a later request waits for the next flush."""
        erase(workspace, GONE)
        flush_deletes(workspace)
        erase(workspace, "user-5")
        assert pending(workspace) == 1
        replay_erasures(workspace, DayRange(DAYS.first, DAYS.first))
        assert pending(workspace) == 1
        assert flush_deletes(workspace) == 1

    def test_orphans_go_before_a_request_is_complete(self, workspace: Workspace) -> None:
        """A key file that no ledger row names, as a power cut may leave, is gone after a flush."""
        day = DAYS.first
        source = next((workspace.lake.root / "lake" / "raw_events").rglob("*.parquet"))
        orphans = [
            workspace.lake.staging_path(day, batch="0" * 32, epoch=1),
            workspace.lake.partition_path("raw_events", date(2020, 1, 1), epoch=1),
            workspace.lake.partition_folder("raw_events", day) / ".e9.parquet.tmp-1-1-x",
        ]
        for orphan in orphans:
            orphan.parent.mkdir(parents=True, exist_ok=True)
            orphan.write_bytes(source.read_bytes())
        erase(workspace, GONE)
        flush_deletes(workspace)
        assert not any(orphan.exists() for orphan in orphans)


class TestBringUpToDate:
    def test_pending_erasures_of_the_window_are_applied(self, workspace: Workspace) -> None:
        """Bringing days up to date applies pending erasures, and completes them when every day is reached."""
        erase(workspace, GONE)
        bring_up_to_date(workspace, DAYS)
        assert files_holding(workspace, GONE, first=DAYS.first, last=DAYS.last) == []
        assert pending(workspace) == 0

    def test_a_log_that_is_read_meanwhile_refuses_a_flush_but_no_release(
        self, built: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whether somebody was erased never decides whether a window can be brought up to date, and so be released."""
        patient = ledgers.PRAGMAS
        monkeypatch.setattr(ledgers, "PRAGMAS", ("PRAGMA busy_timeout = 50", *patient[1:]))
        workspace = copy_of(built, tmp_path / "data")
        erase(workspace, GONE)
        with workspace.ledger.read() as reader:
            erasures.last_seq(reader)
            bring_up_to_date(workspace, DAYS)
            assert pending(workspace) == 0
            with pytest.raises(StorageError, match="cannot be emptied"):
                flush_deletes(workspace)
        assert flush_deletes(workspace) == 0

    def test_a_part_of_the_days_does_not_complete_a_request(self, workspace: Workspace) -> None:
        """A request stays pending while a day is left that it has not been applied to."""
        erase(workspace, GONE)
        bring_up_to_date(workspace, DayRange.single(DAYS.first))
        assert pending(workspace) == 1
        flush_deletes(workspace)
        assert files_holding(workspace, GONE, first=DAYS.first, last=DAYS.last) == []

    def test_a_rebuild_applies_completed_tombstones(self, workspace: Workspace) -> None:
        """Raw events put back from an old copy lose erased users in a rebuild, although their request is complete."""
        raw = workspace.lake.root / "lake" / "raw_events"
        copies = {path: path.read_bytes() for path in raw.rglob("*.parquet")}
        with workspace.ledger.read() as connection:
            rows = partitions.load(connection, ["raw_events"])
        erase(workspace, GONE)
        flush_deletes(workspace)
        after = key_files(workspace)
        for path, content in copies.items():
            path.unlink(missing_ok=True)
            path.write_bytes(content)
        with workspace.ledger.write() as connection:
            partitions.save(connection, rows.values(), now=LONG_AFTER)
        rebuild(workspace, DAYS)
        assert key_files(workspace) == after


class TestTwoWriters:
    def test_an_erasure_between_reading_and_writing_is_not_lost(
        self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """While one writer has read a day and not yet written it, a request and a second writer come: nobody returns.

        The first writer is held after it read its inputs. The erasure is recorded at once; the replay waits for the
        lake lock, so it sees what the first writer made of inputs that still held the user.
        """
        late = FIRST + timedelta(days=5)
        stage_activity(workspace, [(GONE, late), ("somebody", late)])
        has_read, may_write = threading.Event(), threading.Event()
        original = fold_module.fold_file

        def held(*arguments: Any, **named: Any) -> str | None:
            digest = original(*arguments, **named)
            has_read.set()
            assert may_write.wait(20)
            return digest

        monkeypatch.setattr(fold_module, "fold_file", held)
        first = threading.Thread(target=fold, args=(workspace, DAYS))
        first.start()
        assert has_read.wait(20)
        erase(workspace, GONE)
        second = threading.Thread(target=flush_deletes, args=(workspace,))
        second.start()
        second.join(0.3)
        assert second.is_alive()  # it waits for the first writer
        may_write.set()
        first.join(30)
        second.join(30)
        assert files_holding(workspace, GONE, first=DAYS.first, last=DAYS.last) == []
        expected = naive_counts([*EVENTS, ("somebody", late)], [(GONE, DAYS.last)], DAYS)
        assert count_trusted(workspace, DAYS.first, DAYS.last) == expected
        assert pending(workspace) == 0

    def test_the_cut_excludes_an_erasure_recorded_during_the_operation(
        self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An erasure recorded after the lock was taken is applied to no day of that operation, not to some of them."""
        stage_activity(workspace, [("somebody", day) for day in DAYS])
        original = fold_module.fold_file
        done: list[None] = []

        def erasing(*arguments: Any, **named: Any) -> str | None:
            if len(done) == 10:
                erase(workspace, GONE)
            done.append(None)
            return original(*arguments, **named)

        monkeypatch.setattr(fold_module, "fold_file", erasing)
        counts = count_trusted(workspace, DAYS.first, DAYS.last)
        assert len(done) > 10
        assert counts == naive_counts([*EVENTS, *(("somebody", day) for day in DAYS)], [], DAYS)
        assert pending(workspace) == 1
