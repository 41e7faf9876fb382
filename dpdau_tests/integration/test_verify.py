"""Verification: a clean folder is ok; a pseudonym planted anywhere, and damage of every kind, is found and named."""

from __future__ import annotations

import json
import shlex
import shutil
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import date, timedelta
from itertools import cycle
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dpdau_assets.core.hashing import user_keys
from dpdau_assets.core.quantities import DayRange
from dpdau_assets.core.sketches.kmv import KmvSketch
from dpdau_assets.core.sketches.protocol import KEY_SPACE
from dpdau_assets.core.sketches.theta import ThetaSketch
from dpdau_assets.errors import ConfigurationError, DataError, InputError, StorageError
from dpdau_assets.operations.backup import backup
from dpdau_assets.operations.bring_up_to_date import bring_up_to_date
from dpdau_assets.operations.certificate import certify
from dpdau_assets.operations.discard_batch import discard_batch
from dpdau_assets.operations.publication import intent_path
from dpdau_assets.operations.publish_release import publish_releases
from dpdau_assets.operations.rebuild import rebuild
from dpdau_assets.operations.replay_erasures import flush_deletes
from dpdau_assets.operations.request_erasure import request_erasure
from dpdau_assets.operations.reset_budget import reset_budget
from dpdau_assets.operations.unaccounted import set_unaccounted
from dpdau_assets.operations.verification import Finding, Verification
from dpdau_assets.operations.verify import verify, verify_folder
from dpdau_assets.operations.verify_sketches import Content
from dpdau_assets.operations.workspace import Workspace, open_workspace
from dpdau_assets.settings import Settings
from dpdau_assets.storage import batches, erasures, partitions
from dpdau_assets.storage.backups import Backup
from dpdau_assets.storage.files import file_digest, read_keys, read_table, write_keys, write_table
from dpdau_assets.storage.journal_lines import files_in
from dpdau_assets.storage.lock import FileLock
from dpdau_assets.storage.partitions import Partition
from dpdau_tests.integration.command_line import CommandLine, write_lines
from dpdau_tests.support.workspaces import LONG_AFTER, copy_of, new_workspace, stage_activity

FIRST = date(2026, 3, 20)
DAYS = DayRange(FIRST, FIRST + timedelta(days=11))
WINDOW = 8
LATER = DAYS.last + timedelta(days=3)
HELD = f"{FIRST - timedelta(days=WINDOW - 1)}..{LATER}"
"""From the first day of the first window to the last staged day."""
GONE, RETURNED = "user-3", "user-5"
RETURN_DAY = FIRST + timedelta(days=8)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A built folder; tests work on copies."""
    return build(tmp_path_factory.mktemp("built"), "kmv")


def build(folder: Path, sketch_impl: str) -> Workspace:
    """A folder with releases, from which one user is erased for good, and one who came back."""
    workspace = new_workspace(
        folder,
        sketch_impl=sketch_impl,
        sketch_k=4096,
        series_start=FIRST,
        mau_window_days=WINDOW,
        hash_salt_rotation_days=20,
    )
    days = list(DAYS)
    stage_activity(workspace, [(f"user-{n}", day) for n in range(40) for day in days[n % 3 :: 3]])
    bring_up_to_date(workspace, DAYS)
    for user, through in ((GONE, DAYS.last), (RETURNED, RETURN_DAY)):
        request_erasure(workspace, [user.encode()], through=through, now=LONG_AFTER)
    flush_deletes(workspace)
    stage_activity(workspace, [("user-1", LATER), (RETURNED, LATER)])
    publish_releases(workspace, ["dau", "mau"], DayRange(FIRST, FIRST + timedelta(days=2)))
    return workspace


@pytest.fixture
def workspace(built: Workspace, tmp_path: Path) -> Workspace:
    """A copy of the built folder."""
    return copy_of(built, tmp_path / "data")


def key_of(workspace: Workspace, user: str = GONE, day: date = DAYS.last) -> int:
    """The pseudonym of a user under the epoch of a day."""
    epoch = workspace.salts.calendar.epoch_of(day)
    return int(user_keys(workspace.salts.epoch_key(epoch), [user.encode()])[0])


def signed(key: int) -> int:
    """A pseudonym as the ledger stores it."""
    return key - (1 << 64) if key >> 63 else key


def the(kind: str, found: Verification) -> Finding:
    """The only finding of a kind, which must be there."""
    chosen = [finding for finding in found.findings if finding.kind == kind]
    assert len(chosen) == 1, found.findings
    return chosen[0]


def flip(path: Path) -> None:
    """Turns one bit in the middle of a file, in a new file so that links keep theirs."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.unlink()
    path.write_bytes(content)


def plant_keys(workspace: Workspace, asset: str, day: date, *users: str) -> None:
    """Puts pseudonyms into a key file and makes the ledger believe that it is the right one."""
    with workspace.ledger.read() as connection:
        row = partitions.load(connection, [asset], day, day)[asset, day]
    epoch = workspace.salts.calendar.epoch_of(day)
    path = workspace.lake.partition_path(asset, day, epoch=epoch)
    added = user_keys(workspace.salts.epoch_key(epoch), [user.encode() for user in users])
    if asset == "daily_sketches":
        sketch = KmvSketch.from_bytes(read_table(path)["sketch"][0].as_py())
        blob = sketch.union(KmvSketch.from_keys(added, k=4096)).to_bytes()
        digest = write_table(path, pa.table({"sketch": pa.array([blob], pa.binary())}))
    else:
        digest = write_keys(path, np.union1d(read_keys(path), added))
    files = {**row.files, str(epoch): digest}
    with workspace.ledger.write() as connection:
        changed = Partition(asset, day, files, row.input_digest, row.applied_erasure_seq)
        partitions.save(connection, [changed], now=LONG_AFTER)


class TestCleanFolder:
    def test_a_clean_folder_is_ok(self, workspace: Workspace) -> None:
        """After releases, erasures, a return and late data nothing is found and nothing is pending."""
        workspace.lake.write_catalogue()
        found = verify(workspace)
        assert (found.findings, found.pending, found.notes) == ((), (), ())
        assert verify(workspace, DAYS).ok
        assert verify_folder(workspace.settings, clock=workspace.clock).ok

    @pytest.mark.parametrize("sketch_impl", ["set", "theta", "hll"])
    def test_a_clean_folder_of_another_sketch_is_ok(self, tmp_path: Path, sketch_impl: str) -> None:
        """Whatever sketches are made of, those of a folder with erasures and a return hold nobody who must be gone."""
        if sketch_impl == "theta":
            pytest.importorskip("datasketches")
        workspace = build(tmp_path / "data", sketch_impl)
        assert verify(workspace) == Verification(())

    def test_a_theta_sketch_is_searched_by_its_hashes(self, tmp_path: Path) -> None:
        """A theta sketch stores hashes of pseudonyms: those of an erased user are found in it."""
        pytest.importorskip("datasketches")
        stored = ThetaSketch.from_keys(np.array([5, 7, 9], np.uint64), threshold=KEY_SPACE).to_bytes()
        assert Content.of(stored).has(np.array([4, 5, 8, 9], np.uint64)).tolist() == [False, True, False, True]

    def test_looking_changes_nothing(self, workspace: Workspace) -> None:
        """A verification leaves every file as it was."""
        workspace.ledger.scrub()
        root = workspace.lake.root
        files = {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and "-shm" not in path.name}
        verify(workspace)
        assert files == {
            path: path.read_bytes() for path in root.rglob("*") if path.is_file() and "-shm" not in path.name
        }

    def test_an_empty_folder_is_ok(self, tmp_path: Path) -> None:
        """A folder without any data holds nothing that is wrong."""
        assert verify(new_workspace(tmp_path / "data")) == Verification(())

    def test_a_pending_request_is_pending_and_no_finding(self, workspace: Workspace) -> None:
        """A user whose erasure was requested is expected to be there until it is applied."""
        request_erasure(workspace, [b"user-7"], through=DAYS.last, now=LONG_AFTER)
        found = verify(workspace)
        assert found.ok
        assert any("flush-deletes" in line for line in found.pending)
        flush_deletes(workspace)
        assert verify(workspace) == Verification(())

    def test_an_applied_but_incomplete_request_must_be_gone_where_it_is_applied(self, workspace: Workspace) -> None:
        """A partition that says it has applied a pending request must not hold its user any more."""
        request_erasure(workspace, [b"user-7"], through=DAYS.last, now=LONG_AFTER)
        with workspace.ledger.write() as connection:
            connection.exec_driver_sql("UPDATE partitions SET applied_erasure_seq = 3 WHERE asset = 'erasure_replay'")
        finding = the("erased", verify(workspace))
        assert finding.place.startswith("erasure_replay ")


class TestPlantedInPartitions:
    @pytest.mark.parametrize("asset", ["raw_events", "erasure_replay", "daily_sketches"])
    def test_a_partition_that_the_ledger_believes_in(self, workspace: Workspace, asset: str) -> None:
        """An erased pseudonym in a recorded partition is found; neither its day nor its file is told; rebuild helps."""
        planted = FIRST + timedelta(days=6)
        plant_keys(workspace, asset, planted, GONE)
        found = verify(workspace)
        finding = the("erased", found)
        assert finding.place == f"{asset} {HELD}"
        assert str(planted) not in json.dumps(found.to_json())
        assert not verify(workspace, DayRange.single(planted + timedelta(days=3))).ok
        follow(workspace, finding)
        assert verify(workspace) == Verification(())

    def test_a_user_who_returned_counts_from_the_day_after(self, workspace: Workspace) -> None:
        """The pseudonym of a user who came back is fine on later days and wrong on the erased ones."""
        plant_keys(workspace, "raw_events", DAYS.last, RETURNED)
        assert not [finding for finding in verify(workspace).findings if finding.kind == "erased"]
        plant_keys(workspace, "raw_events", RETURN_DAY, RETURNED)
        assert the("erased", verify(workspace)).place.startswith("raw_events")

    @pytest.mark.parametrize("user", [GONE, RETURNED])
    def test_a_union(self, workspace: Workspace, user: str) -> None:
        """A union must not hold an erased user, nor one who is live only outside its window or on no day of it."""
        day = RETURN_DAY + timedelta(days=2)  # the user is live again, but only after this window
        with workspace.ledger.read() as connection:
            row = partitions.load(connection, ["mau_unions"], day, day)["mau_unions", day]
        path = workspace.lake.windows_path(day)
        table = read_table(path)
        rows = table.to_pylist()
        key = np.array([key_of(workspace, user, rows[1]["first_day"])], np.uint64)
        sketch = KmvSketch.from_bytes(rows[1]["sketch"])
        rows[1]["sketch"] = sketch.union(KmvSketch.from_keys(key, k=4096)).to_bytes()
        digest = write_table(path, pa.Table.from_pylist(rows, schema=table.schema))
        with workspace.ledger.write() as connection:
            changed = Partition("mau_unions", day, {"windows": digest}, row.input_digest, row.applied_erasure_seq)
            partitions.save(connection, [changed], now=LONG_AFTER)
        finding = the("erased", verify(workspace))
        assert finding.place == f"mau_unions {HELD}"
        follow(workspace, finding)
        assert verify(workspace) == Verification(())

    def test_a_staged_file(self, workspace: Workspace) -> None:
        """An erased pseudonym in a staged file is found."""
        with workspace.ledger.read() as connection:
            file = batches.staged_between(connection)[0]
        path = workspace.lake.staging_path(file.day, batch=file.batch, epoch=file.epoch)
        request_erasure(workspace, [b"user-8"], through=file.day, now=LONG_AFTER)
        flush_deletes(workspace)
        key = user_keys(workspace.salts.epoch_key(file.epoch), [b"user-8"])
        digest = write_keys(path, np.union1d(read_keys(path), key))
        with workspace.ledger.write() as connection:
            batches.set_staged_digest(connection, file, digest)
        finding = the("erased", verify(workspace))
        assert finding.place == f"staging {LATER}..{LATER}"
        follow(workspace, finding)
        assert verify(workspace) == Verification(())

    def test_a_damaged_file_with_an_erased_user_names_no_day(self, workspace: Workspace) -> None:
        """Where somebody was found, the damage of that kind of file is told for the whole range as well."""
        day = FIRST + timedelta(days=9)
        path = workspace.lake.partition_path("erasure_replay", day, epoch=workspace.salts.calendar.epoch_of(day))
        keys = np.union1d(read_keys(path), np.array([key_of(workspace, day=day)], np.uint64))
        path.unlink()
        write_keys(path, keys)
        found = verify(workspace)
        assert {finding.kind for finding in found.findings} == {"erased", "damaged"}
        assert str(day) not in json.dumps(found.to_json())


def tmp_leftover(workspace: Workspace) -> Path:
    return workspace.lake.temporary_root / "batch-999999999-ab" / ".e1.parquet.tmp-1"


PLACES: dict[str, Callable[[Workspace], Path]] = {
    "temporary file": tmp_leftover,
    "spill file": lambda workspace: workspace.lake.temporary_root / "spill-999999999-ab" / "duckdb_temp_block-1.block",
    "quarantine report": lambda workspace: workspace.lake.quarantine_path("ab" * 16),
    "published file": lambda workspace: workspace.lake.published / "other.csv",
    "report": lambda workspace: workspace.lake.root / "reports" / "rotations.md",
    "cache": lambda workspace: workspace.lake.root / "cache" / "days" / "64.bin",
    "file beside the folders": lambda workspace: workspace.lake.root / "notes.txt",
    "Dagster's home": lambda workspace: workspace.lake.root / "dagster" / "storage" / "run" / "compute.out",
    "file in waiting in the lake": lambda workspace: workspace.lake.root / "lake" / "raw_events" / ".e1.tmp-9-1-ab",
    "file in a folder of the lake that no asset has": lambda workspace: workspace.lake.root / "lake" / "old" / "x.bin",
    "key file that no row names": lambda workspace: workspace.lake.partition_path(
        "raw_events", FIRST - timedelta(days=2), epoch=200
    ),
    "staged file that no row names": lambda workspace: workspace.lake.staging_path(DAYS.last, batch="ab" * 16, epoch=3),
    "file beside the ledger": lambda workspace: workspace.lake.ledger_path.with_name("old.sqlite-journal"),
}
SPELLINGS: dict[str, Callable[[int], bytes]] = {
    "binary": lambda key: b"\x00" * 5 + key.to_bytes(8, "little"),
    "text": lambda key: f'{{"lines": [{key}]}}'.encode(),
}


class TestPlantedElsewhere:
    @pytest.mark.parametrize(
        ("place", "spelling"),
        list(zip(PLACES, cycle(SPELLINGS), strict=False)),
        ids=lambda given: given.replace(" ", "-"),
    )
    def test_any_file(self, workspace: Workspace, place: str, spelling: str) -> None:
        """A pseudonym in a file of any kind is found, the file is named, and the named command ends it."""
        path = PLACES[place](workspace)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(SPELLINGS[spelling](key_of(workspace)))
        found = verify(workspace)
        finding = the("erased", found)
        assert finding.place.split("/")[0] in (*path.relative_to(workspace.lake.root).parts, "Dagster's home")
        assert str(key_of(workspace)) not in json.dumps(found.to_json())
        follow(workspace, finding)
        assert verify(workspace).ok

    def test_a_returned_user_in_an_orphan_is_only_unknown(self, workspace: Workspace) -> None:
        """A staged file that a crash left is unknown, not erased, when its users are erased on other days only."""
        key = np.array([key_of(workspace, RETURNED, LATER)], np.uint64)
        write_keys(workspace.lake.staging_path(LATER, batch="ab" * 16, epoch=3), key)
        assert the("unknown", verify(workspace)).place == "staging"
        write_keys(workspace.lake.staging_path(RETURN_DAY, batch="ab" * 16, epoch=3), key)
        assert the("erased", verify(workspace)).place == "staging"

    def test_a_name(self, workspace: Workspace) -> None:
        """A file named after a pseudonym is found, and the name is not repeated."""
        path = workspace.lake.root / "reports" / f"{key_of(workspace)}.txt"
        path.write_text("nothing")
        found = verify(workspace)
        assert the("erased", found).place == "reports/"
        assert str(key_of(workspace)) not in json.dumps(found.to_json())

    def test_a_compressed_column(self, workspace: Workspace) -> None:
        """A pseudonym in a compressed Parquet export is found."""
        path = workspace.lake.published / "metrics.parquet"
        column = pa.array([key_of(workspace)] * 1000, pa.uint64())
        pq.write_table(pa.table({"x": column}), path, compression="zstd")
        finding = the("erased", verify(workspace))
        assert (finding.place, finding.repair) == ("published/metrics.parquet", "dpdau export")

    def test_a_table_of_the_catalogue(self, workspace: Workspace) -> None:
        """The catalogue holds views only: a table with a pseudonym is found, however DuckDB stores it; init helps."""
        workspace.lake.write_catalogue()
        with duckdb.connect(str(workspace.lake.catalogue_path)) as connection:
            connection.execute(
                "CREATE TABLE planted AS SELECT ?::UBIGINT + i AS k FROM range(100) r(i)", [key_of(workspace)]
            )
        found = verify(workspace)
        assert {finding.place for finding in found.findings} == {"dpdau.duckdb"}
        assert {finding.kind for finding in found.findings} == {"erased"}
        workspace.lake.write_catalogue()
        assert verify(workspace).ok

    def test_a_free_page_of_the_ledger(self, workspace: Workspace) -> None:
        """A row deleted by a program without secure_delete is found in free space; rebuild writes the ledger anew."""
        with sqlite3.connect(workspace.lake.ledger_path, isolation_level=None) as connection:
            connection.execute("PRAGMA secure_delete = OFF")
            connection.execute("CREATE TABLE planted (k INTEGER)")
            connection.execute("INSERT INTO planted VALUES (?)", (signed(key_of(workspace)),))
            connection.execute("DROP TABLE planted")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        finding = the("erased", verify(workspace))
        assert finding.place == "the ledger outside its table of tombstones"
        rebuild(workspace, DayRange.single(FIRST))
        assert verify(workspace) == Verification(())

    def test_a_row_of_another_table_of_the_ledger(self, workspace: Workspace) -> None:
        """A pseudonym in a JSON column of the ledger is found."""
        document = json.dumps({"malformed": key_of(workspace)})
        with workspace.ledger.write() as connection:
            connection.exec_driver_sql("UPDATE batches SET rejected = ?", (document,))
        workspace.ledger.scrub()
        assert the("erased", verify(workspace)).place == "the ledger outside its table of tombstones"

    def test_the_write_ahead_log(self, workspace: Workspace) -> None:
        """A superseded version of a page that is still in the log is found; flush-deletes empties the log."""
        workspace.ledger.scrub()
        for value in (key_of(workspace), 0):
            with workspace.ledger.write() as connection:
                connection.exec_driver_sql("UPDATE meta SET value = ? WHERE key = 'created_at'", (str(value),))
        finding = the("erased", verify(workspace))
        assert (finding.place, finding.repair) == ("the ledger's write-ahead log", "dpdau flush-deletes")
        flush_deletes(workspace)
        assert verify(workspace) == Verification(())

    def test_sources_that_are_kept_are_mentioned(self, workspace: Workspace) -> None:
        """Raw ids in inbox/done cannot be searched for; the verification says that they void the guarantee."""
        done = workspace.lake.inbox / "done"
        done.mkdir()
        (done / "source.csv").write_text("user_id,day\n")
        found = verify(workspace)
        assert found.ok
        assert "KEEP_SOURCES" in found.notes[0]


class TestDamage:
    @pytest.mark.parametrize("damage", [flip, Path.unlink], ids=["flipped", "deleted"])
    @pytest.mark.parametrize("asset", ["raw_events", "erasure_replay", "daily_sketches", "mau_unions"])
    def test_one_damaged_file_comes_back(
        self, workspace: Workspace, asset: str, damage: Callable[[Path], None]
    ) -> None:
        """A flipped bit and a missing file are found with their day, and rebuild brings the same bytes back."""
        day = FIRST + timedelta(days=6)
        folder = workspace.lake.partition_folder(asset, day)
        path = sorted(folder.iterdir())[0]
        before = path.read_bytes()
        damage(path)
        finding = the("damaged", verify(workspace))
        assert finding.place == f"{asset} {day}..{day}"
        assert finding.repair == f"dpdau rebuild --start {day} --end {day}"
        follow(workspace, finding)
        assert path.read_bytes() == before
        assert verify(workspace) == Verification(())

    def test_raw_events_damaged_with_their_link_need_a_copy(self, workspace: Workspace) -> None:
        """Where live users are the same damaged file nothing is left to rebuild from; the finding says so."""
        day = FIRST + timedelta(days=6)
        for asset in ("raw_events", "erasure_replay"):
            flip(sorted(workspace.lake.partition_folder(asset, day).iterdir())[0])
        found = verify(workspace)
        assert {finding.place.split()[0] for finding in found.findings} == {"raw_events", "erasure_replay"}
        assert "dpdau restore --lake" in found.findings[0].repair
        with pytest.raises(DataError):
            rebuild(workspace, DayRange.single(day))

    def test_a_damaged_staged_file_names_its_batch(self, workspace: Workspace) -> None:
        """A staged file that is damaged comes from its source again, after its batch was discarded."""
        with workspace.ledger.read() as connection:
            file = batches.staged_between(connection)[0]
        flip(workspace.lake.staging_path(file.day, batch=file.batch, epoch=file.epoch))
        finding = the("damaged", verify(workspace))
        assert finding.repair.startswith(f"dpdau discard-batch {file.batch}, then ingest")
        discard_batch(workspace, file.batch)
        assert verify(workspace) == Verification(())

    @pytest.mark.parametrize(
        ("place", "kind", "shown"),
        [
            ("tmp/batch-999999999-ab/.e1.parquet.tmp-1", "leftover", "tmp/batch-999999999-ab"),
            ("lake/raw_events/.e1.parquet.tmp-9-1-ab", "leftover", "lake/raw_events/.e1.parquet.tmp-9-1-ab"),
            ("lake/notes.txt", "unknown", "lake/notes.txt"),
            ("staging/day=2026-03-20/notes", "unknown", "staging/day=2026-03-20/notes"),
            ("lake/raw_events/day=2020-01-01/e7.parquet", "unknown", "raw_events"),
            ("staging/day=2020-01-01/ab-e7.parquet", "unknown", "staging"),
        ],
    )
    def test_a_file_that_nobody_knows(self, workspace: Workspace, place: str, kind: str, shown: str) -> None:
        """Half-written and foreign files are found, named, and removed by the command that is named."""
        path = workspace.lake.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"PAR1 half a file")
        finding = the(kind, verify(workspace))
        assert finding.place == shown
        follow(workspace, finding)
        assert verify(workspace) == Verification(())

    @pytest.mark.parametrize(
        ("content", "command"),
        [(b'{"partitions": [], "folded": [], "rewritten": []}', "flush-deletes"), (b'{"part\x00', "rebuild")],
    )
    def test_an_interrupted_replacement(self, workspace: Workspace, content: bytes, command: str) -> None:
        """An intent that was left behind is found; whether it can be read or not, a command settles it."""
        intent_path(workspace.lake).write_bytes(content)
        finding = the("leftover", verify(workspace))
        assert (finding.place, finding.repair.split()[1]) == ("lake", command)
        follow(workspace, finding)
        assert verify(workspace) == Verification(())


class TestLedger:
    @pytest.mark.parametrize("share", [0.0, 0.3, 0.8])
    def test_a_truncated_ledger(self, workspace: Workspace, share: float) -> None:
        """A ledger cut short, or empty beside a lake with releases, is a finding and never a new ledger."""
        path = workspace.lake.ledger_path
        workspace.ledger.scrub()
        workspace.close()
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
        for name in ("-wal", "-shm"):
            path.with_name(path.name + name).unlink(missing_ok=True)
        found = verify_folder(workspace.settings, clock=workspace.clock)
        assert {finding.kind for finding in found.findings} == {"ledger"}
        assert all("dpdau restore" in finding.repair for finding in found.findings)
        assert path.stat().st_size < 4096 or share > 0

    def test_a_missing_ledger(self, workspace: Workspace) -> None:
        """Files without their ledger are a finding."""
        workspace.close()
        for path in workspace.lake.ledger_path.parent.glob("ledger.sqlite*"):
            path.unlink()
        finding = the("ledger", verify_folder(workspace.settings, clock=workspace.clock))
        assert "belongs to ledger" in finding.message

    def test_a_ledger_from_before(self, workspace: Workspace) -> None:
        """A ledger put back from a copy is older than its journal, and would release days again: a finding."""
        workspace.ledger.scrub()
        before = workspace.lake.ledger_path.read_bytes()
        for day in (3, 4):
            publish_releases(workspace, ["dau"], DayRange.single(FIRST + timedelta(days=day)))
        workspace.ledger.scrub()
        workspace.close()
        workspace.lake.ledger_path.write_bytes(before)
        finding = the("ledger", verify_folder(workspace.settings, clock=workspace.clock))
        assert "older than its journal" in finding.message
        assert "dpdau restore" in finding.repair

    def test_a_lake_without_ledger_gets_no_new_one(self, workspace: Workspace) -> None:
        """Where the ledger and the file that names it are gone, the journal still tells that there was one."""
        workspace.close()
        for path in (*workspace.lake.ledger_path.parent.glob("ledger.sqlite*"), workspace.lake.ledger_id_path):
            path.unlink()
        with pytest.raises(ConfigurationError, match="belongs to ledger"):
            open_workspace(workspace.settings, clock=workspace.clock)
        finding = the("ledger", verify_folder(workspace.settings, clock=workspace.clock))
        assert "dpdau restore" in finding.repair

    def test_a_new_ledger_beside_a_lake_with_releases(self, workspace: Workspace) -> None:
        """A folder whose ledger was replaced by an empty one, without a trace, holds files that nobody knows."""
        workspace.close()
        for path in (*workspace.lake.ledger_path.parent.glob("ledger.sqlite*"), workspace.lake.ledger_id_path):
            path.unlink()
        kept = journal_file(workspace).rename(workspace.lake.root / "kept.jsonl")
        fresh = open_workspace(workspace.settings, clock=workspace.clock)
        assert {finding.kind for finding in verify(fresh).findings} == {"unknown"}
        lines = journal_file(fresh).read_bytes()
        journal_file(fresh).write_bytes(lines + kept.read_bytes())
        assert {finding.kind for finding in verify(fresh).findings} == {"unknown", "journal"}
        fresh.close()

    def test_a_missing_salt_store(self, workspace: Workspace) -> None:
        """Without the salts nothing can be continued: a finding of its own kind."""
        workspace.close()
        workspace.lake.secrets_path.unlink()
        finding = the("salts", verify_folder(workspace.settings, clock=workspace.clock))
        assert finding.place == "secrets/salts.json"

    def test_no_folder_at_all_is_an_error(self, tmp_path: Path, workspace: Workspace) -> None:
        """Where there is no data folder nothing is verified."""
        settings = workspace.settings.model_copy(update={"data_dir": tmp_path / "none"})
        with pytest.raises(StorageError, match="holds no data yet"):
            verify_folder(Settings(**settings.model_dump()), clock=workspace.clock)

    @pytest.mark.parametrize(
        ("statement", "kind", "place"),
        [
            ("DELETE FROM releases WHERE metric = 'dau'", "ledger", "charges and releases of 2026-03"),
            ("UPDATE charges SET kind = 'threshold'", "ledger", "charges and releases of 2026-03"),
            ("UPDATE charges SET day = '2026-03-31'", "ledger", "charges and releases of 2026-03"),
            ("UPDATE charges SET metric = 'wau' WHERE metric = 'dau'", "ledger", "charges and releases of 2026-03"),
            ("UPDATE accounts SET period = '2026-04'", "ledger", "charges and releases of 2026-03"),
            ("UPDATE accounts SET epsilon_cap = 0.2 WHERE metric = 'mau'", "budget", "the mau account of 2026-03"),
            ("UPDATE accounts SET month_cap = 0.2 WHERE metric = 'mau'", "budget", "all metrics in 2026-03"),
            ("UPDATE accounts SET year_cap = 0.2", "budget", "all metrics over 365 days"),
            ("UPDATE partitions SET digest = 'x' WHERE day = '2026-03-22'", "ledger", "the ledger's partitions"),
            ("UPDATE erasure_log SET seq = 1", "ledger", "the ledger's tombstones"),
            ("UPDATE erasure_log SET seq = 1, pending = 1", "ledger", "the ledger's tombstones"),
            (
                "UPDATE partitions SET applied_erasure_seq = 1 WHERE asset = 'mau_unions'",
                "ledger",
                "the ledger's erasure requests",
            ),
            (
                """UPDATE partitions SET files = '{"1":"' || digest || '"}' WHERE asset = 'mau_unions'""",
                "salts",
                "secrets/salts.json",
            ),
        ],
    )
    def test_rows_that_contradict_each_other(self, workspace: Workspace, statement: str, kind: str, place: str) -> None:
        """A change of the ledger's rows behind our back is found, with the place where they disagree."""
        with workspace.ledger.write() as connection:
            connection.exec_driver_sql(statement)
        assert (kind, place) in {(finding.kind, finding.place) for finding in verify(workspace).findings}

    def test_days_that_wait_to_be_charged_are_pending(self, workspace: Workspace) -> None:
        """Values that a gap of the journal lost are work that is due; the command that does it is named."""
        with workspace.ledger.write() as connection:
            set_unaccounted(connection, [FIRST, FIRST + timedelta(days=1)])
        found = verify(workspace)
        assert found.ok
        assert f"--assume-released {FIRST}..{FIRST + timedelta(days=1)}" in found.pending[0]

    def test_a_changed_setting_is_no_finding(self, workspace: Workspace) -> None:
        """Caps are compared at the terms of the charges: lower settings of today do not make the past wrong."""
        lower = workspace.settings.model_copy(
            update={"mau_budget_total": 0.1, "total_budget_month": 0.1, "total_budget_365d": 0.1, "delta": 1e-9}
        )
        workspace.close()
        assert verify_folder(Settings(**lower.model_dump()), clock=workspace.clock).ok


def journal_file(workspace: Workspace) -> Path:
    return files_in(workspace.lake.journal_folder)[-1]


class TestJournal:
    def test_a_lost_line_is_a_gap(self, workspace: Workspace) -> None:
        """A flipped bit in the only copy loses a line: the chain has a gap, and a backup makes it harmless."""
        path = journal_file(workspace)
        lines = path.read_bytes().splitlines(keepends=True)
        lines[2] = lines[2].replace(b"seq", b"sex")
        path.write_bytes(b"".join(lines))
        found = verify(workspace)
        assert {finding.kind for finding in found.findings} == {"journal"}
        assert "lines are missing from its chain" in {finding.message for finding in found.findings}

    def test_a_lost_end_is_found(self, workspace: Workspace) -> None:
        """A journal that ends before the ledger's last transaction is found."""
        path = journal_file(workspace)
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
        assert "last transaction" in the("journal", verify(workspace)).message

    @pytest.mark.parametrize(
        ("statement", "place", "repair"),
        [
            ("UPDATE releases SET drawn = drawn + 1 WHERE metric = 'dau'", "releases", "dpdau restore"),
            ("DELETE FROM releases WHERE metric = 'dau'", "releases", "dpdau restore"),
            ("UPDATE accounts SET epsilon_cap = 9 WHERE metric = 'dau'", "accounts", "dpdau restore"),
            ("UPDATE charges SET events = '[]' WHERE charge = 2", "charges", "dpdau restore"),
            ("UPDATE erasure_requests SET users = 7", "erasure requests", "dpdau restore"),
            (
                "INSERT INTO resets VALUES (9, 'dau', '2026-03', 2, '', '')",
                "resets",
                "dpdau backup",
            ),
        ],
    )
    def test_a_row_on_which_they_disagree(self, workspace: Workspace, statement: str, place: str, repair: str) -> None:
        """Rows are compared one by one: changed, missing or added behind the journal's back."""
        reset_budget(workspace, "mau", "2026-03", "so that resets are noted")
        with workspace.ledger.write() as connection:
            connection.exec_driver_sql(statement)
        found = [finding for finding in verify(workspace).findings if finding.kind == "journal"]
        assert [finding.place for finding in found] == [f"{place} in ledger and journal"]
        assert found[0].repair.startswith(repair)

    def test_a_pseudonym_in_clear(self, workspace: Workspace) -> None:
        """The journal holds pseudonyms sealed only; one in clear is found, also in a line that does not count."""
        path = journal_file(workspace)
        with path.open("ab") as stream:
            stream.write(f'{{"user_key": {key_of(workspace)}'.encode())
        finding = the("erased", verify(workspace))
        assert finding.place == f"journal/{path.name}"

    def test_copies_that_differ(self, tmp_path: Path) -> None:
        """A damaged second copy is found; one that is merely behind is pending."""
        mirror = tmp_path / "mirror"
        workspace = new_workspace(tmp_path / "data", journal_mirror_dir=mirror)
        stage_activity(workspace, [("user-1", FIRST)])
        assert verify(workspace) == Verification(())
        path = files_in(mirror)[-1]
        content = path.read_bytes()
        path.write_bytes(content[:-40])
        found = verify(workspace)
        assert found.ok and "behind" in found.pending[0]
        path.write_bytes(content[:40] + b"x" + content[41:])
        assert the("journal", verify(workspace)).place == f"the journal's {path.name}"


class TestCertificate:
    def test_it_is_dated_contiguous_and_names_nobody(self, workspace: Workspace) -> None:
        """A certificate holds the date, one range of days and the request, and no identifier and no count."""
        request = request_erasure(workspace, [b"user-7", b"user-9"], through=DAYS.last, now=LONG_AFTER).request
        flush_deletes(workspace)
        given = certify(workspace, request)
        written = (workspace.lake.root / "reports" / "certificates" / f"{request}.md").read_text(encoding="utf-8")
        assert written == f"{given.text()}\n"
        assert "2031-01-01T12:00:00" in written
        assert (given.first_day, given.last_day) == ("1970-01-01", str(DAYS.last)) or given.first_day <= str(FIRST)
        assert "user-" not in written
        document = given.to_json()
        assert not [value for value in document.values() if isinstance(value, int)]
        assert given.last_backup_expires_at is None
        assert verify(workspace) == Verification(())

    def test_it_is_refused_until_the_request_is_complete(self, workspace: Workspace) -> None:
        """Neither an unknown nor a pending request is certified."""
        with pytest.raises(InputError, match="no erasure request"):
            certify(workspace, "f" * 32)
        request = request_erasure(workspace, [b"user-7"], through=DAYS.last, now=LONG_AFTER).request
        with pytest.raises(DataError, match="not complete") as refused:
            certify(workspace, request)
        assert "flush-deletes" in refused.value.hint

    def test_it_is_refused_when_anything_is_found(self, workspace: Workspace) -> None:
        """One finding anywhere, and nothing is certified or written."""
        with workspace.ledger.read() as connection:
            request = erasures.history(connection)[0].request
        (workspace.lake.root / "lake" / "notes.txt").write_text("x")
        with pytest.raises(DataError, match="no certificate"):
            certify(workspace, request)
        assert not (workspace.lake.root / "reports" / "certificates").exists()

    def test_it_is_refused_while_files_are_being_written(self, workspace: Workspace) -> None:
        """What another operation has in waiting was not searched, so nothing is certified meanwhile."""
        with workspace.ledger.read() as connection:
            request = erasures.history(connection)[0].request
        with workspace.lake.temporary_folder(), pytest.raises(DataError, match="is writing files"):
            certify(workspace, request)

    def test_it_says_that_kept_sources_are_not_covered(self, workspace: Workspace) -> None:
        """With sources in inbox/done the certificate says that they are outside of it."""
        with workspace.ledger.read() as connection:
            request = erasures.history(connection)[0].request
        done = workspace.lake.inbox / "done"
        done.mkdir()
        (done / "source.csv").write_text("user_id,day\n")
        assert "inbox/done" in certify(workspace, request).text()


def rewrite_manifest(copy: Backup) -> None:
    """Makes the manifest of a copy name the bytes that the copy has now."""
    manifest = copy.path / "manifest.json" if copy.is_lake else copy.path.with_suffix(".json")
    if copy.is_lake:
        listed = {str(path.relative_to(copy.path)): file_digest(path) for path in sorted(copy.path.rglob("*.parquet"))}
        (copy.path / "files.json").write_text(json.dumps(listed), encoding="utf-8")
    digest = file_digest(copy.path / "files.json" if copy.is_lake else copy.path)
    document = json.loads(manifest.read_text(encoding="utf-8"))
    manifest.write_text(json.dumps({**document, "sha256": digest}), encoding="utf-8")


class TestBackups:
    def test_backups_of_a_clean_folder_are_clean(self, workspace: Workspace) -> None:
        """Copies made after every erasure was complete hold nobody who is erased."""
        backup(workspace, with_lake=True)
        assert verify(workspace) == Verification(())

    def test_a_pseudonym_in_a_copy_of_the_ledger(self, workspace: Workspace) -> None:
        """A copy of the ledger is searched page by page for whoever was completely erased in it."""
        copy, _ = backup(workspace, with_lake=True).made
        with closing(sqlite3.connect(copy.path)) as connection, connection:
            connection.execute("INSERT INTO meta VALUES ('planted', ?)", (key_of(workspace),))
        rewrite_manifest(copy)
        finding = the("erased", verify(workspace))
        assert finding.place == f"backups/{copy.path.name}"
        assert finding.repair.endswith("dpdau backup")

    @pytest.mark.parametrize("part", ["raw_events", "staging", "mau_unions"])
    def test_a_pseudonym_in_a_copy_of_the_lake(self, workspace: Workspace, part: str) -> None:
        """A copy of the lake is searched file by file, each for its own days."""
        _, copy = backup(workspace, with_lake=True).made
        day = FIRST + timedelta(days=6)
        epoch = workspace.salts.calendar.epoch_of(day)
        key = np.array([key_of(workspace, day=day)], np.uint64)
        folder = copy.path / part / f"day={day}"
        if part == "mau_unions":
            path = folder / "windows.parquet"
            table = read_table(path)
            rows = table.to_pylist()
            row = next(row for row in rows if row["epoch"] == epoch or row["window_days"] == 7)
            key = np.array([key_of(workspace, day=row["first_day"])], np.uint64)
            sketch = KmvSketch.from_bytes(row["sketch"])
            row["sketch"] = sketch.union(KmvSketch.from_keys(key, k=4096)).to_bytes()
            write_table(path, pa.Table.from_pylist(rows, schema=table.schema))
        else:
            name = f"e{epoch}.parquet" if part == "raw_events" else f"{'ab' * 16}-e{epoch}.parquet"
            write_keys(folder / name, key)
        rewrite_manifest(copy)
        finding = the("erased", verify(workspace))
        assert finding.place == f"backups/{copy.path.name}"
        assert str(day) not in json.dumps(finding.to_json())

    def test_an_older_copy_may_hold_the_data_and_the_certificate_says_until_when(self, workspace: Workspace) -> None:
        """A copy from before the request was complete is no finding; the certificate names the day it goes."""
        _, copy = backup(workspace, with_lake=True).made
        request = request_erasure(workspace, [b"user-7"], through=DAYS.last, now=LONG_AFTER).request
        flush_deletes(workspace)
        with workspace.ledger.write() as connection:
            later = "2031-01-02T12:00:00.000000+00:00"
            connection.exec_driver_sql(
                "UPDATE erasure_requests SET completed_at = ? WHERE request = ?", (later, request)
            )
        assert verify(workspace) == Verification(())
        assert certify(workspace, request).last_backup_expires_at == copy.manifest.expires_at

    def test_a_damaged_copy(self, workspace: Workspace) -> None:
        """A copy with other bytes, or without a manifest, is found before it is needed."""
        ledger, lake = backup(workspace, with_lake=True).made
        flip(sorted(lake.path.rglob("*.parquet"))[0])
        flip(ledger.path)
        found = verify(workspace)
        assert [finding.kind for finding in found.findings] == ["backup", "backup"]
        ledger.path.with_suffix(".json").unlink()
        assert "no backup" in verify(workspace).findings[0].message

    def test_what_a_killed_backup_left(self, workspace: Workspace) -> None:
        """A half-made copy is found once nobody makes one."""
        backup(workspace)
        path = workspace.lake.backups / ".ledger-20310101.sqlite.tmp-9-1-ab"
        path.write_bytes(b"half")
        with FileLock(workspace.lake.backups / ".lock"), ThreadPoolExecutor(1) as pool:
            assert pool.submit(verify, workspace).result().ok
        finding = the("leftover", verify(workspace))
        follow(workspace, finding)
        assert verify(workspace) == Verification(())

    def test_a_journal_whose_beginning_a_backup_replaced(self, workspace: Workspace) -> None:
        """Lines that a copy of the ledger holds may be dropped; without the copy they are missing."""
        copy = backup(workspace).made[0]
        path = journal_file(workspace)
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[3:]))
        assert verify(workspace) == Verification(())
        copy.path.unlink()
        copy.path.with_suffix(".json").unlink()
        assert "lines are missing" in the("journal", verify(workspace)).message


class TestCommands:
    def test_verify_and_certificate_by_command(self, tmp_path: Path) -> None:
        """`verify` ends with 0 or 1 and one document either way; `certificate` prints and writes, or says why not."""
        run = CommandLine(tmp_path / "project", SERIES_START="2026-01-01")
        source = write_lines(tmp_path / "a.jsonl", [(f"user-{number}", "2026-01-02") for number in range(5)])
        run.json("ingest", "--from", source)
        assert run.json("verify") == {"ok": True, "findings": [], "pending": [], "notes": []}
        request = run.json("erase", "user-1", "--through", "2026-01-31")["request"]
        refused = run("certificate", request, "--json")
        assert (refused.code, refused.error["error"]) == (1, "data")
        assert run("certificate", "0" * 32).code == 3
        assert run("verify").out.startswith("pending: erasure requests wait")
        run.json("flush-deletes")
        certificate = run.json("certificate", request)
        assert certificate["last_day"] == "2026-01-31"
        printed = run("certificate", request).out
        assert (run.data / certificate["path"]).read_text(encoding="utf-8") == printed
        (run.data / "lake" / "notes.txt").write_text("x")
        answer = run("verify", "--json")
        assert (answer.code, answer.document["ok"]) == (1, False)
        assert answer.document["findings"][0]["place"] == "lake/notes.txt"
        assert run("verify").out.splitlines()[-1] == "NOT ok: 1 finding"
        assert "no certificate" in run("certificate", request).err


def follow(workspace: Workspace, finding: Finding) -> None:
    """Gives the command that a finding names."""
    line = finding.repair.split("then ")[-1].split(":")[0]
    words = shlex.split(line)
    if words[0] == "rm":
        path = Path(words[-1])
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    elif words[1] == "flush-deletes":
        flush_deletes(workspace)
    elif words[1] == "rebuild":
        rebuild(workspace, DayRange(date.fromisoformat(words[3]), date.fromisoformat(words[5])))
    else:
        raise AssertionError(finding.repair)
