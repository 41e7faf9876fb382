"""Key files of one source before they are staged."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from dpdau_assets.engines.protocol import DayKeys
from dpdau_assets.operations.ingest import staging_area as module
from dpdau_assets.operations.ingest.staging_area import staging_area
from dpdau_assets.operations.session.erased_keys import ErasedKeys
from dpdau_assets.storage.lake.key_files import read_keys
from dpdau_assets.storage.lake.lake import Lake
from dpdau_assets.storage.ledger.erasures import Tombstones

DAY, NEXT = date(2026, 3, 1), date(2026, 3, 2)


def keys(*values: int) -> np.ndarray:  # type: ignore[type-arg]
    return np.array(values, np.uint64)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A data folder."""
    lake = Lake(tmp_path / "data")
    lake.make_folders()
    return lake


class TestStagingArea:
    @pytest.mark.parametrize("in_memory", [0, 1 << 20])
    def test_parts_are_united_without_the_erased(
        self, lake: Lake, monkeypatch: pytest.MonkeyPatch, in_memory: int
    ) -> None:
        """Each day and epoch becomes one file of its parts' keys less the erased ones; one without keys has no file."""
        monkeypatch.setattr(module, "MOST_BYTES_IN_MEMORY", in_memory)
        erased = ErasedKeys({7: Tombstones.until(keys(3, 9), DAY)})
        with lake.lock(), lake.write_batch() as files, staging_area(lake) as area:
            area.add(DayKeys(DAY, 7, keys(1, 3)))
            area.add(DayKeys(DAY, 7, keys(2)))
            area.add(DayKeys(NEXT, 7, keys(3)))
            area.add(DayKeys(DAY, 8, keys(9)))
            area.add(DayKeys(date(2026, 2, 28), 7, keys(9)))
            area.finish()
            assert area.first_days == {7: date(2026, 2, 28), 8: DAY}
            rows = area.put(files, lake, batch="b", erased=[erased])
            files.publish()
        found = {
            (day, epoch): read_keys(lake.staging_path(day, batch="b", epoch=epoch), digest=digest).tolist()
            for day, epoch, digest in rows
        }
        assert found == {(DAY, 7): [1, 2], (NEXT, 7): [3], (DAY, 8): [9]}

    def test_nothing_written_aside_stays(self, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
        """What was written aside goes with the block, also when the block fails."""
        monkeypatch.setattr(module, "MOST_BYTES_IN_MEMORY", 0)
        with pytest.raises(ZeroDivisionError), staging_area(lake) as area:
            area.add(DayKeys(DAY, 7, keys(1, 3)))
            area.finish()
            assert list(lake.temporary_root.rglob("*.parquet"))
            raise ZeroDivisionError
        assert not list(lake.temporary_root.rglob("*.parquet"))
