"""Erasures reach every day that is accepted, however old, from tombstones of a few epochs only."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.operations.erase import request as request_module
from dpdau_assets.operations.erase.request import request_erasure
from dpdau_assets.operations.ingest import record_batch
from dpdau_assets.operations.ingest.stage import stage_files
from dpdau_assets.operations.pipeline.bring_up_to_date import bring_up_to_date
from dpdau_assets.operations.pipeline.erasure_replay import flush_deletes
from dpdau_assets.operations.pipeline.trusted_counts import count_trusted
from dpdau_assets.operations.recover.backup import backup
from dpdau_assets.operations.recover.rebuild import rebuild
from dpdau_assets.operations.recover.restore import restore
from dpdau_assets.operations.session.open_workspace import open_workspace
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.operations.verify.verify import verify
from dpdau_assets.storage.journal.lines import read
from dpdau_assets.storage.ledger import erasures
from dpdau_tests.support.naive import live_users
from dpdau_tests.support.workspaces import LONG_AFTER, Event, files_holding, new_workspace

pytestmark = pytest.mark.untraced

RECENT = date(2026, 4, 1)
OLD = date(1991, 5, 5)
Row = tuple[str, date, str]


def write_rows(path: Path, rows: Iterable[Row]) -> Path:
    """The rows as JSONL, or as the format that the suffix names."""
    text = "".join(json.dumps({"user_id": user, "day": str(day), "op": op}) + "\n" for user, day, op in rows)
    source = path.with_suffix(".jsonl")
    source.write_text(text, encoding="utf-8")
    if path.suffix != ".jsonl":
        duckdb.execute(f"COPY (SELECT user_id, day, op FROM '{source}') TO '{path}'")
    return path


def ingest(workspace: Workspace, path: Path, events: Iterable[Event]) -> None:
    stage_files(workspace, [write_rows(path, [(user, day, "+") for user, day in events])])


def erase(workspace: Workspace, *users: str, through: date = RECENT) -> None:
    request_erasure(workspace, [user.encode() for user in users], through=through, now=LONG_AFTER)


def users_of(workspace: Workspace, day: date) -> int:
    (row,) = count_trusted(workspace, day, day)
    return int(row["dau"])


def tombstone_count(workspace: Workspace) -> int:
    with workspace.ledger.read() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM erasure_log").scalar_one())


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A folder without SERIES_START that holds a few recent days."""
    workspace = new_workspace(tmp_path / "data", sketch_impl="set")
    ingest(workspace, tmp_path / "recent.jsonl", [("a", RECENT), ("b", RECENT), ("b", RECENT - timedelta(days=40))])
    return workspace


class TestReach:
    def test_few_epochs_get_a_tombstone(self, workspace: Workspace, tmp_path: Path) -> None:
        """Without a series a user costs a tombstone for each epoch that is held, not one for each since 1970."""
        erase(workspace, "a")
        assert tombstone_count(workspace) <= 3
        ingest(workspace, tmp_path / "zero.jsonl", [("c", date(1970, 1, 1))])  # the usual broken clock
        erase(workspace, "b")
        assert tombstone_count(workspace) <= 3 + 4

    @pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
    @pytest.mark.parametrize("through", [RECENT, OLD + timedelta(days=1)])
    @pytest.mark.one_is_enough
    def test_late_activity_of_an_epoch_never_held_is_left_out(
        self, workspace: Workspace, tmp_path: Path, suffix: str, through: date
    ) -> None:
        """Activity of decades ago that arrives after the erasure counts for everybody but the erased, by their day."""
        erase(workspace, "a", through=through)
        events = [(user, OLD + timedelta(days=back)) for user in ("a", "b", "ç") for back in (0, 1, 2)]
        ingest(workspace, tmp_path / f"late{suffix}", events)
        erased_days = {OLD + timedelta(days=back) for back in (0, 1, 2)} if through == RECENT else {OLD, through}
        for back in (0, 1, 2):
            day = OLD + timedelta(days=back)
            assert users_of(workspace, day) == (2 if day in erased_days else 3)
        if through == RECENT:
            assert files_holding(workspace, "a", first=OLD, last=OLD + timedelta(days=2)) == []
        rebuild(workspace, DayRange(OLD, OLD + timedelta(days=2)))
        assert users_of(workspace, OLD) == 2

    def test_what_arrived_late_is_erased_by_later_requests(self, workspace: Workspace, tmp_path: Path) -> None:
        """An epoch that was first held after the first erasure is covered by the next request."""
        erase(workspace, "a")
        ingest(workspace, tmp_path / "late.jsonl", [("b", OLD), ("c", OLD)])
        bring_up_to_date(workspace, DayRange.single(OLD))
        erase(workspace, "b", through=OLD)
        flush_deletes(workspace)
        assert users_of(workspace, OLD) == 1
        assert files_holding(workspace, "b", first=OLD, last=OLD) == []
        assert users_of(workspace, RECENT) == 1

    def test_a_file_can_erase_and_hold_old_days(self, workspace: Workspace, tmp_path: Path) -> None:
        """A source that erases keeps its own old rows of the erased out, and so does every later one."""
        rows = [("c", OLD, "+"), ("d", OLD, "+"), ("c", OLD + timedelta(days=9), "-")]
        stage_files(workspace, [write_rows(tmp_path / "both.jsonl", rows)])
        ingest(
            workspace, tmp_path / "later.jsonl", [("c", OLD - timedelta(days=2000)), ("e", OLD - timedelta(days=2000))]
        )
        assert users_of(workspace, OLD) == 1
        assert users_of(workspace, OLD - timedelta(days=2000)) == 1
        assert users_of(workspace, RECENT) == 2

    def test_an_erasure_while_an_old_source_is_read_holds_for_it(
        self, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A source that was being read when the erasure came is read again, so that the erased stay out."""
        erase(workspace, "b")
        original, done = record_batch.erased_before, []

        def erasing(*arguments: object) -> object:
            if not done:
                done.append(None)
                erase(workspace, "a")
            return original(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(record_batch, "erased_before", erasing)
        ingest(workspace, tmp_path / "late.jsonl", [("a", OLD), ("c", OLD)])
        assert done
        assert users_of(workspace, OLD) == 1
        assert files_holding(workspace, "a", first=OLD, last=OLD) == []

    def test_days_that_arrive_while_a_request_is_made_are_covered(
        self, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A batch of an epoch never held, recorded between a request's first and last step, is erased by it."""
        original, done = request_module.bulk_user_keys, []

        def meanwhile(*arguments: object, **named: object) -> object:
            if not done:
                done.append(None)
                ingest(workspace, tmp_path / "late.jsonl", [("a", OLD), ("c", OLD)])
            return original(*arguments, **named)  # type: ignore[arg-type]

        monkeypatch.setattr(request_module, "bulk_user_keys", meanwhile)
        erase(workspace, "a")
        flush_deletes(workspace)
        assert done
        assert users_of(workspace, OLD) == 1
        assert files_holding(workspace, "a", first=OLD, last=OLD) == []

    def test_a_ledger_from_before_keeps_its_reach(self, workspace: Workspace, tmp_path: Path) -> None:
        """Where tombstones leave out no epoch, later requests leave out none."""
        erase(workspace, "a")
        with workspace.ledger.write() as connection:
            connection.exec_driver_sql("DELETE FROM meta WHERE key = 'tombstone_base'")
        erase(workspace, "b")
        assert tombstone_count(workspace) > 200
        with workspace.ledger.read() as connection:
            assert erasures.reference_epoch(connection) is None


class TestAfterAGap:
    """The journal lost lines of the first erasure, and the ledger with them."""

    def lose(self, workspace: Workspace, *, is_request_lost: bool) -> Workspace:
        """The folder restored without the line that settled the reference epoch; the request may be lost as well."""
        kinds = {"fact", "erasure"} if is_request_lost else {"fact"}
        for line in read(workspace.lake.journal_folder).lines:
            entries = line.document()["notes"]
            if {entry["note"] for entry in entries} <= kinds and any(
                entry["note"] == "erasure" or entry["key"] == "tombstone_base" for entry in entries
            ):
                content = bytearray(line.path.read_bytes())
                content[line.offset + 20] ^= 1
                line.path.write_bytes(content)
        workspace.close()
        for path in workspace.lake.ledger_path.parent.glob("ledger.sqlite*"):
            path.unlink()
        never_published = workspace.settings.model_copy(update={"series_start": workspace.clock().date()})
        report = restore(never_published, clock=workspace.clock)
        assert len(report.gaps) == 1
        return open_workspace(workspace.settings, clock=workspace.clock, create=False)

    def assert_left_out(self, workspace: Workspace, source: Path) -> None:
        """Activity of decades ago counts for `b` only."""
        ingest(workspace, source, [("a", OLD), ("b", OLD)])
        assert users_of(workspace, OLD) == 1
        assert files_holding(workspace, "a", first=OLD, last=OLD) == []

    def test_a_request_recorded_after_the_gap_brings_its_coverage(self, workspace: Workspace, tmp_path: Path) -> None:
        """If only the line that settled the reference epoch is lost, the request keeps its user out of old sources."""
        backup(workspace)
        erase(workspace, "a")
        with workspace.ledger.read() as connection:
            coverage = erasures.reference_epoch(connection), erasures.tombstone_floor(connection)
        assert coverage[0] is not None
        workspace = self.lose(workspace, is_request_lost=False)
        with workspace.ledger.read() as connection:
            assert (erasures.reference_epoch(connection), erasures.tombstone_floor(connection)) == coverage
        self.assert_left_out(workspace, tmp_path / "late.jsonl")
        assert verify(workspace).findings == ()

    def test_a_lost_request_that_is_made_again_holds(self, workspace: Workspace, tmp_path: Path) -> None:
        """Where the request is lost as well, asking again settles one anew, and old sources that came before and
        after it are both without the user."""
        backup(workspace)
        erase(workspace, "a")
        workspace = self.lose(workspace, is_request_lost=True)
        with workspace.ledger.read() as connection:
            assert erasures.reference_epoch(connection) is None
        ingest(workspace, tmp_path / "before.jsonl", [("a", OLD - timedelta(days=500)), ("b", OLD)])
        erase(workspace, "a")
        self.assert_left_out(workspace, tmp_path / "late.jsonl")
        flush_deletes(workspace)
        assert files_holding(workspace, "a", first=OLD - timedelta(days=500), last=OLD - timedelta(days=500)) == []


days = st.sampled_from([date(1970, 1, 1), OLD, date(2009, 2, 3), date(2025, 11, 30), RECENT]).flatmap(
    lambda day: st.integers(0, 40).map(lambda back: day + timedelta(days=back))
)
users = st.sampled_from(["u", "v", "w"])
steps = st.one_of(
    st.tuples(st.just("ingest"), st.lists(st.tuples(users, days, st.sampled_from("++++-")), min_size=1, max_size=6)),
    st.tuples(st.just("erase"), st.tuples(users, days)),
    st.tuples(st.just("flush"), st.none()),
)
QUIET = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@settings(max_examples=2, derandomize=True, **QUIET)  # type: ignore[arg-type]
@given(history=st.lists(steps, min_size=2, max_size=7), rotation_days=st.sampled_from([11, 90]))
@pytest.mark.slow
def test_any_history_over_decades(history: list[tuple[str, object]], rotation_days: int) -> None:
    """Whatever arrives in whatever order over half a century: every day has the users of the definition."""
    check_history(history, rotation_days=rotation_days)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=150, **QUIET)  # type: ignore[arg-type]
@given(history=st.lists(steps, min_size=2, max_size=10), rotation_days=st.sampled_from([11, 90]))
def test_many_histories_over_decades(history: list[tuple[str, object]], rotation_days: int) -> None:
    """The same for many more histories."""
    check_history(history, rotation_days=rotation_days)


def check_history(history: list[tuple[str, object]], *, rotation_days: int) -> None:
    """Lives through `history` in a new folder without SERIES_START and compares each day with the definition."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = new_workspace(Path(folder) / "data", hash_salt_rotation_days=rotation_days, mau_window_days=12)
        activity: list[Event] = []
        erased: list[Event] = []
        for number, (kind, detail) in enumerate(history):
            if kind == "ingest":
                rows: list[Row] = detail  # type: ignore[assignment]
                stage_files(workspace, [write_rows(Path(folder) / f"{number}.jsonl", rows)])
                activity += [(user, day) for user, day, op in rows if op == "+"]
                erased += [(user, day) for user, day, op in rows if op == "-"]
            elif kind == "erase":
                user, through = detail  # type: ignore[misc]
                erase(workspace, user, through=through)
                erased.append((user, through))
            else:
                flush_deletes(workspace)
        expected = live_users(activity, erased)
        for day in {day for _, day in activity}:
            assert users_of(workspace, day) == len(expected.get(day, set()))
        workspace.close()


@pytest.mark.slow
def test_a_hundred_thousand_users_without_a_series(tmp_path: Path) -> None:
    """A request of 100,000 users, its replay and a repeat of it end within a minute."""
    workspace = new_workspace(tmp_path / "data", sketch_impl="set")
    ids = [f"{number:036d}" for number in range(120_000)]
    ingest(workspace, tmp_path / "a.parquet", [(user, RECENT + timedelta(days=n % 60)) for n, user in enumerate(ids)])
    span = DayRange(RECENT, RECENT + timedelta(days=59))
    bring_up_to_date(workspace, span)
    started = time.monotonic()
    for _ in range(2):
        request_erasure(workspace, [user.encode() for user in ids[:100_000]], through=span.last, now=LONG_AFTER)
        flush_deletes(workspace)
    assert time.monotonic() - started < 60
    assert users_of(workspace, RECENT) == len([n for n in range(100_000, 120_000) if n % 60 == 0])
    assert tombstone_count(workspace) <= 4 * 100_000
