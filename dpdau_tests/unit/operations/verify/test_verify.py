"""Verification: a clean folder is ok; a pseudonym planted anywhere is found, named, and ended by the named command."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from datetime import timedelta
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
from dpdau_assets.operations.erase.request import request_erasure
from dpdau_assets.operations.pipeline.erasure_replay import flush_deletes
from dpdau_assets.operations.recover.rebuild import rebuild
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.operations.verify.findings import Verification
from dpdau_assets.operations.verify.sketches import Content
from dpdau_assets.operations.verify.verify import verify, verify_folder
from dpdau_assets.storage.lake.key_files import read_keys, read_table, write_keys, write_table
from dpdau_assets.storage.ledger import batches, partitions
from dpdau_assets.storage.ledger.partitions import Partition
from dpdau_tests.support.verified_folders import (
    DAYS,
    FIRST,
    GONE,
    HELD,
    LATER,
    RETURN_DAY,
    RETURNED,
    build,
    follow,
    key_of,
    plant_keys,
    signed,
    the,
)
from dpdau_tests.support.workspaces import LONG_AFTER, new_workspace

pytestmark = pytest.mark.one_is_enough


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


def unowned_temporary_file(workspace: Workspace) -> Path:
    return workspace.lake.temporary_root / "batch-999999999-ab" / ".e1.parquet.tmp-1"


PLACES: dict[str, Callable[[Workspace], Path]] = {
    "temporary file": unowned_temporary_file,
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
    "file beside the journal": lambda workspace: workspace.lake.journal_folder / "journal-000001.jsonl.old",
    "lock of the lake": lambda workspace: workspace.lake.root / "lake" / ".lock",
    "lock of temporary files": lambda workspace: workspace.lake.temporary_root / ".lock",
    "file that ends like an index of SQLite": lambda workspace: workspace.lake.published / "other-shm",
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
        assert (finding.place, finding.repair.line) == ("published/metrics.parquet", "dpdau export")

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
        assert (finding.place, finding.repair.line) == ("the ledger's write-ahead log", "dpdau flush-deletes")
        flush_deletes(workspace)
        assert verify(workspace) == Verification(())

    def test_sources_that_are_kept_are_mentioned(self, workspace: Workspace) -> None:
        """Raw ids in inbox/done cannot be searched for; the verification says that they void the guarantee."""
        done = workspace.lake.inbox / "done"
        done.mkdir()
        (done / "source.csv").write_text("user_id,day\n")
        found = verify(workspace)
        assert found.ok
        assert "KEEP_SOURCES" in found.notes[0].line
