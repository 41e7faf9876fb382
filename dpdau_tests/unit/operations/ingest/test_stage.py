"""Staging whole files into a data folder: what is recorded, what is left behind, and what never appears."""

from __future__ import annotations

import json
import multiprocessing
import re
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pytest

from dpdau_assets.core.activity import ColumnMapping
from dpdau_assets.core.hashing import user_keys
from dpdau_assets.core.quantities import DayRange
from dpdau_assets.errors import ConfigurationError, InputError, StorageError
from dpdau_assets.operations.erase.request import request_erasure
from dpdau_assets.operations.ingest.discard_batch import discard_batch
from dpdau_assets.operations.ingest.stage import stage_files, stage_inbox
from dpdau_assets.operations.pipeline.erasure_replay import flush_deletes
from dpdau_assets.operations.pipeline.trusted_counts import count_trusted
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.lake.key_files import read_keys
from dpdau_assets.storage.ledger import batches, erasures
from dpdau_tests.support.engine_reads import Row, write_csv, write_jsonl
from dpdau_tests.support.workspaces import LONG_AFTER, files_holding, key_files, new_workspace

pytestmark = pytest.mark.one_is_enough

FIRST = date(2026, 3, 1)  # an epoch begins on 2026-03-08
ROWS: list[Row] = [(f"user-{n}-é", FIRST + timedelta(days=n % 12), None) for n in range(60)]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty data folder."""
    return new_workspace(tmp_path / "data")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file of 60 users on 12 days."""
    return write_jsonl(tmp_path / "a.jsonl", ROWS)


def staged_keys(workspace: Workspace) -> dict[tuple[date, int], set[int]]:
    """Every recorded staged file, read and checked against its digest."""
    with workspace.ledger.read() as connection:
        files = batches.staged_between(connection)
    found: dict[tuple[date, int], set[int]] = {}
    for file in files:
        path = workspace.lake.staging_path(file.day, batch=file.batch, epoch=file.epoch)
        found.setdefault((file.day, file.epoch), set()).update(read_keys(path, digest=file.digest).tolist())
    return found


def expected_keys(workspace: Workspace, rows: list[Row]) -> dict[tuple[date, int], set[int]]:
    """What staging `rows` must leave, by the reference pseudonyms."""
    found: dict[tuple[date, int], set[int]] = {}
    for user, day, _ in rows:
        for epoch in workspace.salts.calendar.keyed_epochs(day, workspace.settings.mau_window_days):
            found.setdefault((day, epoch), set()).update(
                user_keys(workspace.salts.epoch_key(epoch), [user.encode()]).tolist()
            )
    return found


class TestRecording:
    def test_a_source_becomes_one_batch_of_pseudonyms(self, workspace: Workspace, source: Path) -> None:
        """Each day of the file is staged under each of its epochs with the reference pseudonyms, and the file stays."""
        report = stage_files(workspace, [source])
        assert report.to_json() == {
            "files": 1,
            "events": 60,
            "accepted": 60,
            "rejected": {},
            "days": 12,
            "first_day": str(FIRST),
            "last_day": str(FIRST + timedelta(days=11)),
            "duplicates_of_earlier_batches": 0,
        }
        assert staged_keys(workspace) == expected_keys(workspace, ROWS)
        assert source.exists()

    def test_the_same_content_again_changes_nothing(self, workspace: Workspace, source: Path, tmp_path: Path) -> None:
        """A file of the same bytes under any name is a duplicate: no file and no row changes."""
        stage_files(workspace, [source])
        before = key_files(workspace)
        copy = tmp_path / "copy.ndjson"
        copy.write_bytes(source.read_bytes())
        again = stage_files(workspace, [copy, source])
        assert (again.duplicates_of_earlier_batches, again.events, again.days) == (2, 0, ())
        assert key_files(workspace) == before

    def test_another_mapping_is_another_batch_and_the_usual_names_are_no_mapping(
        self, workspace: Workspace, tmp_path: Path
    ) -> None:
        """Naming the usual columns is the same source; naming others is a new one."""
        path = tmp_path / "a.csv"
        path.write_text("user_id,ts,shop\na,2026-01-01,b\n")
        mappings = [ColumnMapping(), ColumnMapping(user="user_id", time="ts"), ColumnMapping(user="shop")]
        known = [stage_files(workspace, [path], mapping=one).duplicates_of_earlier_batches for one in mappings]
        assert known == [0, 1, 0]

    def test_two_processes_stage_a_file_once(self, workspace: Workspace, source: Path) -> None:
        """Of several processes that stage the same file at the same time exactly one records it."""
        context = multiprocessing.get_context("forkserver")
        barrier, answers = context.Barrier(4), context.Queue()
        root = workspace.lake.root
        processes = [context.Process(target=_stage_at_once, args=(root, source, barrier, answers)) for _ in range(4)]
        for process in processes:
            process.start()
        known = sorted(answers.get(timeout=120) for _ in processes)
        for process in processes:
            process.join(60)
        assert known == [0, 1, 1, 1]
        assert staged_keys(workspace) == expected_keys(workspace, ROWS)
        assert len(list((root / "staging").rglob("*.parquet"))) == len(staged_keys(workspace))

    def test_the_first_batch_freezes_what_pseudonyms_depend_on(self, workspace: Workspace, source: Path) -> None:
        """After the first batch the folder opens with the same time zone only."""
        stage_files(workspace, [source])
        with pytest.raises(ConfigurationError, match="TIMEZONE"):
            new_workspace(workspace.lake.root, timezone="Europe/Vienna")

    def test_a_dry_run_leaves_no_trace(self, workspace: Workspace, source: Path) -> None:
        """A dry run reports rows and days and leaves no file, no batch and nothing frozen."""
        stage_files(workspace, [source], dry_run=True)
        before = sorted(workspace.lake.root.rglob("*"))
        assert stage_files(workspace, [source], dry_run=True).accepted == 60
        assert sorted(workspace.lake.root.rglob("*")) == before
        assert (key_files(workspace), staged_keys(workspace)) == ({}, {})
        new_workspace(workspace.lake.root, timezone="Europe/Vienna")

    def test_days_are_those_of_the_zone(self, tmp_path: Path, source: Path) -> None:
        """A time without an offset is UTC, and its day is taken in TIMEZONE."""
        path = tmp_path / "b.jsonl"
        path.write_text('{"user_id": "a", "ts": "2026-03-29T22:30:00"}\n')
        vienna = new_workspace(tmp_path / "vienna", timezone="Europe/Vienna")
        assert stage_files(vienna, [path]).days == (date(2026, 3, 30),)

    def test_a_file_that_grows_while_it_is_read_is_refused(self, workspace: Workspace, source: Path) -> None:
        """Nothing is recorded of a file whose bytes changed between its name's computation and the end of reading."""

        size = source.stat().st_size

        def append(step: str, done: int, total: int) -> None:
            if source.stat().st_size == size:
                with source.open("a") as stream:
                    stream.write("\n")

        with pytest.raises(InputError, match="changed"):
            stage_files(workspace, [source], progress=append)
        assert staged_keys(workspace) == {}
        assert key_files(workspace) == {}


def _stage_at_once(root: Path, source: Path, barrier: object, answers: object) -> None:
    workspace = new_workspace(root)
    barrier.wait(60)  # type: ignore[attr-defined]
    answers.put(stage_files(workspace, [source]).duplicates_of_earlier_batches)  # type: ignore[attr-defined]


BAD_ROWS: list[Row] = [
    ("a", "2026-03-01", None),
    ("", "2026-03-01", None),
    ("b", "soon", None),
    ("", "2026-03-02", None),
]


class TestBadRows:
    def test_they_are_reported_by_reason_and_line_without_ids(self, workspace: Workspace, tmp_path: Path) -> None:
        """The quarantine report of a batch names reasons and line numbers, and nothing else of a row."""
        report = stage_files(workspace, [write_csv(tmp_path / "anna@example.com.csv", BAD_ROWS)])
        assert report.rejected == {"no_user": 2, "bad_time": 1}
        with workspace.ledger.read() as connection:
            (batch,) = {file.batch for file in batches.staged_between(connection)}
        document = json.loads(workspace.lake.quarantine_path(batch).read_text())
        assert document["lines"] == {"no_user": [3, 5], "bad_time": [4]}
        assert document["rejected"] == {"no_user": 2, "bad_time": 1}
        assert not {"soon", "anna"} & set(re.findall(r"\w+", json.dumps(document)))

    def test_strict_refuses_the_file_whole(self, workspace: Workspace, tmp_path: Path) -> None:
        """Under strict one bad row records nothing of its file and names the first such line."""
        path = write_csv(tmp_path / "a.csv", BAD_ROWS)
        with pytest.raises(InputError, match="line 3"):
            stage_files(workspace, [path], strict=True)
        assert key_files(workspace) == {}
        assert stage_files(workspace, [path]).duplicates_of_earlier_batches == 0

    def test_a_file_without_any_good_row_is_a_batch(self, workspace: Workspace, tmp_path: Path) -> None:
        """A file of bad rows only is recorded and reported, and known the next time."""
        path = write_csv(tmp_path / "a.csv", BAD_ROWS[1:2])
        assert stage_files(workspace, [path]).accepted == 0
        assert stage_files(workspace, [path]).duplicates_of_earlier_batches == 1


class TestInbox:
    def test_a_recorded_file_goes_and_others_stay(self, workspace: Workspace, source: Path, tmp_path: Path) -> None:
        """Inbox files go once they are recorded, duplicates too; one that is bad stays and keeps nobody waiting."""
        inbox = workspace.lake.inbox
        (inbox / "bad.csv").write_text("nothing,here\n1,2\n")
        (inbox / "mac.csv").write_bytes(b"user_id,day\ra,2026-01-01\r")
        for name in ("a.jsonl", "b.jsonl"):
            (inbox / name).write_bytes(source.read_bytes())
        with pytest.raises(InputError, match=r"^inbox file 1 of this run has no .* 1 more") as failure:
            stage_inbox(workspace, ["bad.csv", "a.jsonl", "b.jsonl", "gone.csv", "mac.csv"])
        assert "bad.csv" not in f"{failure.value.message} {failure.value.hint}"
        assert sorted(path.name for path in inbox.iterdir()) == ["bad.csv", "mac.csv"]
        assert staged_keys(workspace) == expected_keys(workspace, ROWS)

    def test_sources_are_kept_aside_when_asked(self, tmp_path: Path, source: Path) -> None:
        """With KEEP_SOURCES inbox files move to inbox/done, where files of one name are told apart."""
        workspace = new_workspace(tmp_path / "data", keep_sources=True)
        place = workspace.lake.inbox / "a.jsonl"
        contents = [source.read_bytes(), source.read_bytes() + b"\n"]
        for content in contents:
            place.write_bytes(content)
            stage_files(workspace, [place])
        done = sorted(workspace.lake.inbox.rglob("*.jsonl"))
        assert {path.parent.name for path in done} == {"done"}
        assert sorted(path.read_bytes() for path in done) == sorted(contents)

    def test_names_cannot_leave_the_inbox(self, workspace: Workspace, tmp_path: Path) -> None:
        """A name with folders in it is looked for in the inbox itself."""
        outside = write_jsonl(tmp_path / "data" / "other.jsonl", ROWS)
        assert stage_inbox(workspace, ["../other.jsonl"]).files == 0
        assert outside.exists()

    def test_a_dry_run_removes_nothing(self, workspace: Workspace, source: Path) -> None:
        """A dry run over an inbox file leaves it where it is, also when its content is known."""
        place = workspace.lake.inbox / "a.jsonl"
        place.write_bytes(source.read_bytes())
        stage_files(workspace, [place], dry_run=True)
        stage_files(workspace, [source])
        assert stage_files(workspace, [place], dry_run=True).duplicates_of_earlier_batches == 1
        assert place.exists()


class TestErasures:
    def test_minus_rows_erase_whenever_the_activity_arrives(self, workspace: Workspace, tmp_path: Path) -> None:
        """A "-" row removes its user up to its day from the same file, from earlier files and from later ones."""
        gone, stays = "gone", "stays"
        days = [FIRST + timedelta(days=n) for n in range(8)]
        earlier: list[Row] = [(user, day, None) for user in (gone, stays) for day in days[::2]]
        later: list[Row] = [(user, day, None) for user in (gone, stays) for day in days[1::2]]
        own: list[Row] = [(gone, days[1], None), (gone, days[5], "-"), (gone, days[2], "-"), (gone, days[7], None)]
        for index, rows in enumerate((earlier, own, later)):
            stage_files(workspace, [write_jsonl(tmp_path / f"{index}.jsonl", rows)])
        flush_deletes(workspace)
        assert files_holding(workspace, gone, first=days[0], last=days[0]) != []  # on days 6 and 7, in the same epochs
        counts = count_trusted(workspace, days[0], days[7])
        assert [row["dau"] for row in counts] == [1, 1, 1, 1, 1, 1, 2, 2]

    def test_a_batch_with_minus_rows_is_one_request(self, workspace: Workspace, tmp_path: Path) -> None:
        """All "-" rows of a file are one erasure request with its distinct users and last day."""
        rows: list[Row] = [
            ("a", FIRST, "-"),
            ("a", FIRST + timedelta(days=3), "-"),
            ("b", FIRST, "-"),
            ("c", FIRST, None),
        ]
        assert stage_files(workspace, [write_csv(tmp_path / "a.csv", rows)]).accepted == 4
        with workspace.ledger.read() as connection:
            (request,) = erasures.history(connection)
            tombstones = erasures.tombstones(connection, workspace.salts.calendar.epoch_of(FIRST))
        assert (request.users, request.through_day) == (2, FIRST + timedelta(days=3))
        assert sorted(str(day) for day in tombstones.through) == [str(FIRST), str(FIRST + timedelta(days=3))]

    def test_a_user_erased_before_is_dropped_at_the_door(
        self, workspace: Workspace, tmp_path: Path, source: Path
    ) -> None:
        """Activity of an erased user never reaches a file, under any epoch; on later days it does."""
        stage_files(workspace, [write_csv(tmp_path / "first.csv", [("x", FIRST, None)])])
        request_erasure(workspace, ["user-13-é".encode()], through=FIRST + timedelta(days=5), now=LONG_AFTER)
        flush_deletes(workspace)
        stage_files(workspace, [source])
        assert files_holding(workspace, "user-13-é", first=FIRST, last=FIRST + timedelta(days=20)) == []
        left = [row for row in ROWS if row[0] != "user-13-é"]
        assert staged_keys(workspace) == expected_keys(workspace, [*left, ("x", FIRST, None)])

    def test_days_that_erasures_cannot_reach_are_too_old(self, tmp_path: Path) -> None:
        """With SERIES_START the first erasure settles the oldest day; a file's own older days come before it."""
        workspace = new_workspace(tmp_path / "data", series_start=date(2026, 6, 1))
        old: list[Row] = [("a", date(2025, 4, 1), None), ("b", date(2025, 4, 2), "-")]
        assert stage_files(workspace, [write_jsonl(tmp_path / "a.jsonl", old)]).rejected == {}
        older: list[Row] = [("c", date(2025, 3, 31), None), ("d", date(2025, 4, 1), None)]
        report = stage_files(workspace, [write_jsonl(tmp_path / "b.jsonl", older)])
        assert (report.rejected, report.days) == ({"too_old": 1}, (date(2025, 4, 1),))

    def test_a_floor_settled_while_a_file_is_read_holds_for_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """When an erasure settles the oldest day during reading, the file is read again under the new limit."""
        from dpdau_assets.operations.ingest import record_batch

        workspace = new_workspace(tmp_path / "data", series_start=date(2026, 6, 1))
        erased_before = record_batch.erased_before

        def settling(*arguments: object) -> object:
            with workspace.ledger.read() as connection:
                is_settled = erasures.tombstone_floor(connection) is not None
            if not is_settled:
                request_erasure(workspace, [b"x"], through=date(2026, 6, 1), now=LONG_AFTER)
            return erased_before(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(record_batch, "erased_before", settling)
        rows: list[Row] = [("a", date(2020, 1, 1), None), ("a", date(2026, 6, 1), None)]
        report = stage_files(workspace, [write_jsonl(tmp_path / "a.jsonl", rows)])
        assert (report.rejected, report.days) == ({"too_old": 1}, (date(2026, 6, 1),))
        assert len(key_files(workspace)) == len(staged_keys(workspace))


class TestSecrecy:
    def test_no_file_ever_holds_an_id(self, workspace: Workspace, tmp_path: Path) -> None:
        """After staging good, bad and erasing rows in every format, no byte below DATA_DIR is part of an id."""
        rows: list[Row] = [
            *ROWS,
            ("user-100-é" * 200, FIRST, None),
            ("user-101-é", "user-102-é", None),
            ("user-103-é", FIRST, "-"),
        ]
        stage_files(workspace, [write_jsonl(tmp_path / "a.jsonl", rows), write_csv(tmp_path / "b.csv", rows[:50])])
        duckdb.execute(f"COPY (SELECT * FROM '{tmp_path}/b.csv') TO '{tmp_path}/c.parquet'")
        stage_files(workspace, [tmp_path / "c.parquet"])
        for path in workspace.lake.root.rglob("*"):
            assert not path.is_file() or b"user-" not in path.read_bytes(), path.name

    def test_a_full_disk_is_one_line_and_leaves_nothing(
        self, workspace: Workspace, source: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """When the disk is full nothing is recorded and no temporary file stays; the next attempt succeeds."""
        import errno
        import os

        write = os.write

        def full(descriptor: int, content: bytes) -> int:
            if len(content) > 100:
                raise OSError(errno.ENOSPC, "full")
            return write(descriptor, content)

        with monkeypatch.context() as patched:
            patched.setattr(os, "write", full)
            with pytest.raises(StorageError, match="full"):
                stage_files(workspace, [source])
        assert key_files(workspace) == {}
        assert stage_files(workspace, [source]).accepted == 60


class TestDiscard:
    def test_a_discarded_batch_was_never_there(self, workspace: Workspace, source: Path, tmp_path: Path) -> None:
        """Discarding removes files, report and rows of the batch alone, and its source may come again."""
        other = write_csv(tmp_path / "b.csv", ROWS[:5])
        stage_files(workspace, [other])
        before = key_files(workspace)
        stage_files(workspace, [source])
        with workspace.ledger.read() as connection:
            batch = max(batches.staged_between(connection), key=lambda file: file.batch_seq).batch
        assert discard_batch(workspace, batch) == 12
        assert key_files(workspace) == before
        assert stage_files(workspace, [source]).duplicates_of_earlier_batches == 0


class TestRealFiles:
    def test_rows_without_a_customer_are_the_only_ones_refused(self, workspace: Workspace, real_data: Path) -> None:
        """Of the shop's rows exactly 135,080 have no customer; the others stage the same as the file without them."""
        report = stage_files(workspace, [real_data / "online_retail_with_nulls.parquet"])
        assert (report.events, report.accepted, report.rejected) == (541_909, 406_829, {"no_user": 135_080})
        with_nulls = staged_keys(workspace)
        clean = new_workspace(workspace.lake.root.parent / "clean")
        assert stage_files(clean, [real_data / "online_retail.parquet"]).rejected == {}
        assert staged_keys(clean) == with_nulls

    @pytest.mark.slow
    def test_thirty_seven_years_in_sixteen_scripts_are_staged_whole(
        self, workspace: Workspace, real_data: Path
    ) -> None:
        """Every row of the commit log is accepted, and each day has exactly the keys of its authors."""
        path = real_data / "perl5_commits.parquet"
        report = stage_files(workspace, [path])
        assert (report.events, report.accepted) == (104_528, 104_528)
        authors = duckdb.execute(f"SELECT DISTINCT user_id, ts::DATE FROM '{path}'").fetchall()
        assert report.days == tuple(sorted({day for _, day in authors}))
        sample = DayRange(date(2001, 1, 1), date(2003, 12, 31))
        found = {item: keys for item, keys in staged_keys(workspace).items() if item[0] in sample}
        assert found == expected_keys(workspace, [(user, day, None) for user, day in authors if day in sample])
