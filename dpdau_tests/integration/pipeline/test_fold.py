"""Folding: staged files become raw events, whatever the order, the number of times and the way batches are cut."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.errors import DataError
from dpdau_assets.operations.pipeline.bring_up_to_date import bring_up_to_date
from dpdau_assets.operations.pipeline.daily_sketches import build_sketches
from dpdau_assets.operations.pipeline.erasure_replay import replay_erasures
from dpdau_assets.operations.pipeline.mau_unions import build_unions
from dpdau_assets.operations.pipeline.raw_events import fold
from dpdau_assets.operations.pipeline.trusted_counts import count_trusted
from dpdau_assets.operations.recover.rebuild import rebuild
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.ledger import batches, partitions
from dpdau_tests.support.naive import naive_counts
from dpdau_tests.support.workspaces import Event, digests, key_files, new_workspace, stage_activity

pytestmark = pytest.mark.one_is_enough

FIRST = date(2026, 3, 1)
DAYS = DayRange(FIRST, FIRST + timedelta(days=39))
EVENTS: list[Event] = [
    (f"user-{number}", FIRST + timedelta(days=offset))
    for number in range(30)
    for offset in range(40)
    if (number * 7 + offset * 11) % 13 < 4 and offset % 9 != 5
]


@pytest.fixture(params=["set", "kmv"])
def workspace(request: pytest.FixtureRequest, tmp_path: Path) -> Workspace:
    """An empty data folder; kmv with room for few keys, so that some sketches are saturated."""
    return new_workspace(tmp_path / "data", sketch_impl=request.param, sketch_k=16)


def staged_days(workspace: Workspace) -> list[date]:
    with workspace.ledger.read() as connection:
        return batches.staged_days(connection)


class TestFold:
    def test_counts_are_those_of_the_definition(self, workspace: Workspace) -> None:
        """After one batch the exact counts of every window are those of the naive definition."""
        stage_activity(workspace, EVENTS)
        assert count_trusted(workspace, DAYS.first, DAYS.last) == naive_counts(EVENTS, [], DAYS)

    @pytest.mark.slow
    def test_any_cut_into_batches_gives_the_same_bytes(self, tmp_path: Path) -> None:
        """One batch folded at once and many folded one by one, shuffled and overlapping, give the same files."""
        at_once = new_workspace(tmp_path / "at-once", sketch_k=16)
        stage_activity(at_once, EVENTS)
        bring_up_to_date(at_once, DAYS)
        piecewise = new_workspace(tmp_path / "piecewise", sketch_k=16)
        for start in (3, 0, 4, 1, 2, 1):
            stage_activity(piecewise, [*EVENTS[start::5], *EVENTS[start : start + 20]])
            bring_up_to_date(piecewise, DAYS)
        assert key_files(piecewise) == key_files(at_once)
        assert digests(piecewise) == digests(at_once)

    def test_a_repeat_changes_nothing(self, workspace: Workspace) -> None:
        """Bringing current days up to date again writes no file and no row."""
        stage_activity(workspace, EVENTS)
        bring_up_to_date(workspace, DAYS)
        with workspace.ledger.read() as connection:
            version = partitions.last_version(connection)
        built = bring_up_to_date(workspace, DAYS)
        with workspace.ledger.read() as connection:
            assert partitions.last_version(connection) == version
        assert not (built.raw_events or built.live_users or built.sketches or built.unions)

    def test_a_rebuild_gives_the_same_bytes(self, workspace: Workspace) -> None:
        """Making everything again from raw events changes no file and no digest."""
        stage_activity(workspace, EVENTS)
        bring_up_to_date(workspace, DAYS)
        before, recorded = key_files(workspace), digests(workspace)
        built = rebuild(workspace, DAYS)
        assert (key_files(workspace), digests(workspace)) == (before, recorded)
        assert not (built.raw_events or built.live_users or built.sketches or built.unions)

    def test_a_late_batch_changes_only_its_day_and_the_windows_over_it(self, workspace: Workspace) -> None:
        """One late event changes one day of raw events and exactly the windows that hold that day."""
        stage_activity(workspace, EVENTS)
        bring_up_to_date(workspace, DAYS)
        before = digests(workspace)
        late = FIRST + timedelta(days=7)
        stage_activity(workspace, [("somebody new", late)])
        bring_up_to_date(workspace, DAYS)
        after = digests(workspace)
        changed = {key for key in after if after[key] != before.get(key)}
        assert {day for asset, day in changed if asset == "raw_events"} == {late}
        assert {day for asset, day in changed if asset == "mau_unions"} <= {
            late + timedelta(days=ahead) for ahead in range(30)
        }
        assert ("mau_unions", late) in changed

    def test_open_days_stay_staged_but_are_counted_on_the_trusted_side(self, tmp_path: Path) -> None:
        """A day that is not closed is not folded by any operation; trusted counts see what is staged of it."""
        now = datetime(2026, 4, 9, 5, 59, tzinfo=UTC)  # a minute before 2026-04-08 closes
        workspace = new_workspace(tmp_path / "data", now=now)
        stage_activity(workspace, EVENTS)
        bring_up_to_date(workspace, DAYS)
        rebuild(workspace, DAYS)
        assert staged_days(workspace) == [date(2026, 4, 8), date(2026, 4, 9)]
        assert count_trusted(workspace, DAYS.first, DAYS.last) == naive_counts(EVENTS, [], DAYS)

    def test_empty_days_have_rows_and_no_files(self, workspace: Workspace) -> None:
        """A closed day without activity is known to be empty; it has no folder."""
        stage_activity(workspace, [("a", FIRST), ("a", DAYS.last)])
        bring_up_to_date(workspace, DAYS)
        empty = FIRST + timedelta(days=20)
        with workspace.ledger.read() as connection:
            rows = partitions.load(connection, ["raw_events", "erasure_replay", "daily_sketches"], empty, empty)
        assert len(rows) == 3
        assert all(not row.files for row in rows.values())
        assert not workspace.lake.partition_folder("raw_events", empty).exists()

    def test_steps_one_by_one_give_what_the_chain_gives(self, tmp_path: Path) -> None:
        """The operations of the four assets in a row build what `bring_up_to_date` builds."""
        chained, stepped = new_workspace(tmp_path / "chained"), new_workspace(tmp_path / "stepped")
        for workspace in (chained, stepped):
            stage_activity(workspace, EVENTS)
        bring_up_to_date(chained, DAYS)
        fold(stepped, DAYS)
        replay_erasures(stepped, DAYS)
        build_sketches(stepped, DAYS)
        build_unions(stepped, DAYS)
        assert key_files(stepped) == key_files(chained)

    def test_staging_is_empty_after_a_fold(self, workspace: Workspace) -> None:
        """Folded files leave staging and no temporary file stays; a rebuild clears empty folders as well."""
        stage_activity(workspace, EVENTS)
        fold(workspace, DAYS)
        assert not list((workspace.lake.root / "staging").rglob("*.parquet"))
        rebuild(workspace, DAYS)
        assert list((workspace.lake.root / "staging").iterdir()) == []
        assert not list(workspace.lake.root.rglob("*.tmp-*"))

    def test_days_before_1970_are_left_out(self, workspace: Workspace) -> None:
        """The windows of the first days count what exists; nothing is recorded before 1970-01-01."""
        days = DayRange(date(1970, 1, 1), date(1970, 1, 3))
        stage_activity(workspace, [("a", date(1970, 1, 1)), ("b", date(1970, 1, 2))])
        bring_up_to_date(workspace, days)
        assert count_trusted(workspace, days.first, days.last) == naive_counts(
            [("a", date(1970, 1, 1)), ("b", date(1970, 1, 2))], [], days
        )
        with workspace.ledger.read() as connection:
            assert min(partitions.days_with(connection, "raw_events")) == date(1970, 1, 1)


class TestAlteredFiles:
    """A file whose bytes are not those recorded is rebuilt or reported, never counted."""

    def test_altered_raw_events_are_reported(self, workspace: Workspace) -> None:
        """A rebuild over a changed raw events file ends in a DataError and changes no digest."""
        stage_activity(workspace, EVENTS)
        bring_up_to_date(workspace, DAYS)
        recorded = digests(workspace)
        path = next(iter(sorted((workspace.lake.root / "lake" / "raw_events").rglob("*.parquet"))))
        path.write_bytes(path.read_bytes()[:-1] + b"?")
        with pytest.raises(DataError, match="does not hold the bytes"):
            rebuild(workspace, DAYS)
        assert digests(workspace) == recorded

    @pytest.mark.parametrize("asset", ["daily_sketches", "mau_unions"])
    def test_an_altered_sketch_or_union_is_rebuilt(self, tmp_path: Path, asset: str) -> None:
        """A rebuild replaces a changed file of anything that is made from raw events."""
        workspace = new_workspace(tmp_path / "data", sketch_impl="kmv")
        stage_activity(workspace, EVENTS)
        bring_up_to_date(workspace, DAYS)
        before = key_files(workspace)
        path = next(iter(sorted((workspace.lake.root / "lake" / asset).rglob("*.parquet"))))
        path.write_bytes(b"nonsense")
        rebuild(workspace, DAYS)
        assert key_files(workspace) == before

    def test_trusted_counts_refuse_an_altered_file(self, workspace: Workspace) -> None:
        """A key file with one changed bit is not counted."""
        stage_activity(workspace, EVENTS)
        bring_up_to_date(workspace, DAYS)
        path = next(iter(sorted((workspace.lake.root / "lake" / "erasure_replay").rglob("*.parquet"))))
        content = bytearray(path.read_bytes())
        content[60] ^= 1
        path.write_bytes(bytes(content))
        with pytest.raises(DataError):
            count_trusted(workspace, DAYS.first, DAYS.last)

    def test_an_altered_staged_file_is_not_folded(self, workspace: Workspace) -> None:
        """A staged file that is not the one recorded stops the fold; nothing is recorded."""
        stage_activity(workspace, EVENTS)
        path = next(iter(sorted((workspace.lake.root / "staging").rglob("*.parquet"))))
        path.write_bytes(path.read_bytes() + b"x")
        with pytest.raises(DataError):
            fold(workspace, DAYS)
        assert digests(workspace) == {}
