"""What a session removed from key files, and the files as they were before."""

from __future__ import annotations

from datetime import date

import numpy as np

from dpdau_assets.operations.session.removals import Removal, files_before

DAY, NEXT = date(2026, 3, 1), date(2026, 3, 2)
KEYS = np.array([3, 5], np.uint64)
NOW = {DAY: {"7": "after", "8": "other"}, NEXT: {}}


class TestFilesBefore:
    def test_a_removal_is_undone_and_other_files_stay(self) -> None:
        """The day's files are those of now, with the digest before the removal where the file is still that of it."""
        before = files_before({(DAY, 7): Removal("before", "after", KEYS)}, NOW.__getitem__)
        assert before == {DAY: {"7": "before", "8": "other"}}

    def test_a_file_that_lost_everybody_comes_back(self) -> None:
        """A removal that left no file is undone as well."""
        assert files_before({(NEXT, 7): Removal("before", None, KEYS)}, NOW.__getitem__) == {NEXT: {"7": "before"}}

    def test_a_file_that_changed_since_stays_as_it_is(self) -> None:
        """A file that is not what the removal left has changed for another reason too."""
        assert files_before({(DAY, 8): Removal("before", "after", KEYS)}, NOW.__getitem__) == {DAY: NOW[DAY]}

    def test_prints_as_nothing(self) -> None:
        """A removal shows neither digests nor keys."""
        assert "before" not in repr(Removal("before", "after", KEYS))
