"""The layout of a data folder, its temporary folders and its DuckDB connections."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from dpdau_assets.errors import StorageError
from dpdau_assets.storage.lake.key_files import write_keys
from dpdau_assets.storage.lake.lake import Lake

DAY = date(2026, 2, 3)

HOLD = """
import sys
from pathlib import Path
from dpdau_assets.storage.lake.lake import Lake
with Lake(Path(sys.argv[1])).temporary_folder("spill") as folder:
    (folder / "pseudonyms").write_text("x")
    print(folder, flush=True)
    sys.stdin.readline()
"""


class TestLayout:
    def test_paths_follow_the_layout(self, lake: Lake) -> None:
        """Each kind of file has its one place."""
        relative = [
            lake.staging_path(DAY, batch="ab", epoch=7),
            lake.partition_path("raw_events", DAY, epoch=7),
            lake.windows_path(DAY),
            lake.quarantine_path("ab"),
        ]
        assert [str(path.relative_to(lake.root)) for path in relative] == [
            "staging/day=2026-02-03/ab-e7.parquet",
            "lake/raw_events/day=2026-02-03/e7.parquet",
            "lake/mau_unions/day=2026-02-03/windows.parquet",
            "reports/quarantine/ab.json",
        ]

    def test_a_folder_that_cannot_be_made_is_one_clear_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A parent without write access is a StorageError with a next step."""

        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(os, "mkdir", refuse)
        with pytest.raises(StorageError, match=r"cannot create the folder .* permission denied") as caught:
            Lake(tmp_path / "data").make_folders()
        assert "DATA_DIR" in caught.value.hint

    def test_what_is_not_published_is_for_its_user_alone(self, tmp_path: Path) -> None:
        """Every new folder but published/ and the way to it is closed to others; one made before stays as it is."""
        root = tmp_path / "data"
        (root / "inbox").mkdir(parents=True)
        (root / "inbox").chmod(0o770)
        Lake(root).make_folders()
        modes = {str(path.relative_to(root)): stat.S_IMODE(path.stat().st_mode) for path in root.rglob("*")}
        assert (modes.pop("inbox"), modes.pop("published") & 0o700) == (0o770, 0o700)
        assert set(modes) == {"staging", "lake", "tmp", "ledgers", "reports", "reports/quarantine"}
        assert set(modes.values()) == {0o700}

    def test_an_existing_folder_without_write_access_is_one_clear_error(
        self, lake: Lake, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A DATA_DIR that may only be read is a StorageError that names it."""
        monkeypatch.setattr(os, "access", lambda path, mode: False)
        with pytest.raises(StorageError, match=f"DATA_DIR {lake.root} is not writable"):
            lake.make_folders()

    def test_a_file_in_the_way_is_one_clear_error(self, tmp_path: Path) -> None:
        """DATA_DIR that is a file is a StorageError."""
        (tmp_path / "data").write_text("")
        with pytest.raises(StorageError, match="cannot create the folder"):
            Lake(tmp_path / "data").make_folders()


class TestTemporaryFolders:
    def test_a_folder_goes_with_its_block(self, lake: Lake) -> None:
        """Nothing stays below tmp/ after the block, with or without an error."""
        with lake.temporary_folder() as folder:
            (folder / "x").write_text("x")
        with pytest.raises(ZeroDivisionError), lake.temporary_folder() as folder:
            raise ZeroDivisionError
        assert [path.name for path in lake.temporary_root.iterdir()] == [".lock"]

    def test_the_sweep_takes_dead_owners_only(self, lake: Lake) -> None:
        """A living process keeps its folder; once it is killed the sweep removes it."""
        owner = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(lake.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert owner.stdout is not None
        folder = Path(owner.stdout.readline().strip())
        with lake.temporary_folder() as own:
            assert lake.sweep_temporary() == 0
            assert folder.is_dir() and own.is_dir()
            owner.send_signal(signal.SIGKILL)
            owner.communicate()
            assert (folder / "pseudonyms").exists()
            assert lake.sweep_temporary() == 1
            assert not folder.exists() and own.is_dir()

    def test_files_of_killed_processes_are_told_from_living_work_and_stay(self, lake: Lake) -> None:
        """Looking at tmp/ changes nothing: what a killed process left is listed, what is in use is only mentioned."""
        assert lake.unowned_temporary() == ([], False)
        dead = lake.temporary_root / "spill-999999999-ab"
        dead.mkdir(parents=True)
        assert lake.unowned_temporary() == ([dead], False)
        with lake.temporary_folder():
            assert lake.unowned_temporary() == ([dead], True)
        assert dead.is_dir()

    def test_without_a_lock_the_process_number_decides(self, lake: Lake) -> None:
        """An entry that names a living process stays, one that names none or a dead one goes."""
        dead = subprocess.Popen([sys.executable, "-c", ""])
        dead.wait()
        for name in (f"spill-{os.getpid()}", f"spill-{dead.pid}", "nobody"):
            (lake.temporary_root / name).mkdir()
        assert lake.sweep_temporary() == 2
        assert (lake.temporary_root / f"spill-{os.getpid()}").is_dir()

    def test_a_thorough_sweep_finds_files_beside_their_places(self, lake: Lake) -> None:
        """Files that a killed process left in lake/ and staging/ go; files in their places stay."""
        kept = lake.partition_path("raw_events", DAY, epoch=1)
        write_keys(kept, np.arange(3, dtype=np.uint64))
        temporary = kept.parent / f".{kept.name}.tmp-1-0-abcd"
        temporary.write_bytes(b"x")
        assert lake.sweep_temporary() == 0 and temporary.exists()
        assert lake.sweep_temporary(is_thorough=True) == 1
        assert kept.exists() and not temporary.exists()
