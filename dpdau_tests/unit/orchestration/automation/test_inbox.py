"""Which inbox files count as complete."""

from __future__ import annotations

import os
from pathlib import Path

from dpdau_assets.orchestration.automation.inbox import (
    choose,
    from_cursor,
    look,
    remember,
    run_key,
    to_cursor,
    work_name,
)

NOW = 1_000_000.0


def _drop(inbox: Path, name: str, content: str = "x", *, changed: float = 500.0) -> None:
    path = inbox / name
    path.write_text(content, encoding="utf-8")
    os.utime(path, (changed, changed))


class TestLook:
    def test_unfinished_uploads_dotfiles_and_folders_do_not_count(self, tmp_path: Path) -> None:
        """Only plain files whose name does not mark them as unfinished are seen."""
        for name in ("a.csv", "b.csv.tmp", "c.PART", ".d.csv"):
            _drop(tmp_path, name)
        (tmp_path / "done").mkdir()
        assert list(look(tmp_path)) == ["a.csv"]

    def test_an_inbox_that_does_not_exist_is_empty(self, tmp_path: Path) -> None:
        """Looking creates nothing."""
        assert look(tmp_path / "inbox") == {}
        assert list(tmp_path.iterdir()) == []


class TestChoose:
    def test_a_file_is_chosen_once_it_stood_still_between_two_ticks(self, tmp_path: Path) -> None:
        """A file is not chosen at its first sighting, nor while it grows or is touched."""
        _drop(tmp_path, "a.csv")
        first = look(tmp_path)
        assert choose({}, first, now=NOW) == []
        _drop(tmp_path, "a.csv", "xx")
        second = look(tmp_path)
        assert choose(first, second, now=NOW) == []
        _drop(tmp_path, "a.csv", "xx", changed=501.0)
        third = look(tmp_path)
        assert choose(second, third, now=NOW) == []
        assert choose(third, look(tmp_path), now=NOW) == [["a.csv"]]

    def test_new_files_share_a_run_and_one_left_behind_runs_alone_after_a_pause(self, tmp_path: Path) -> None:
        """A file that a run did not stage never holds up the others, and is tried again later by itself."""
        for name in ("bad.csv", "good.csv"):
            _drop(tmp_path, name)
        seen = look(tmp_path)
        assert choose(seen, seen, now=NOW) == [["bad.csv", "good.csv"]]
        after = remember(seen, seen, {"bad.csv", "good.csv"}, now=NOW)
        (tmp_path / "good.csv").unlink()
        _drop(tmp_path, "new.csv")
        there = look(tmp_path)
        before = remember(after, there, set(), now=NOW + 30)
        assert choose(before, there, now=NOW + 30) == [["new.csv"]]
        assert choose(before, there, now=NOW + 61) == [["new.csv"], ["bad.csv"]]

    def test_each_attempt_has_its_own_run_key_and_the_same_attempt_the_same(self, tmp_path: Path) -> None:
        """A repeated tick asks for the same run; a later attempt or a changed file for another. Both attempts at the
        same files share the name of their work."""
        _drop(tmp_path, "a.csv")
        seen = look(tmp_path)
        again = remember(seen, seen, {"a.csv"}, now=NOW)
        _drop(tmp_path, "a.csv", "longer")
        keys = {run_key(["a.csv"], state) for state in (seen, again, look(tmp_path))}
        assert len(keys) == 3
        assert work_name(["a.csv"], seen) == work_name(["a.csv"], again) != work_name(["a.csv"], look(tmp_path))
        assert run_key(["a.csv"], seen) == run_key(["a.csv"], from_cursor(to_cursor(seen)))

    def test_a_file_that_changes_starts_afresh(self, tmp_path: Path) -> None:
        """A corrected file of the same name does not inherit the failures of the old one."""
        _drop(tmp_path, "a.csv")
        seen = look(tmp_path)
        failed = remember(seen, seen, {"a.csv"}, now=NOW)
        _drop(tmp_path, "a.csv", "corrected")
        changed = remember(failed, look(tmp_path), set(), now=NOW + 1)
        assert choose(changed, look(tmp_path), now=NOW + 1) == [["a.csv"]]


class TestCursor:
    def test_the_cursor_survives_its_text_form(self, tmp_path: Path) -> None:
        """Nothing of a sighting is lost between two ticks, and files that left are forgotten."""
        _drop(tmp_path, "ä b.csv")
        _drop(tmp_path, "gone.csv")
        seen = look(tmp_path)
        kept = remember(seen, seen, {"ä b.csv"}, now=NOW)
        assert from_cursor(to_cursor(kept)) == kept
        (tmp_path / "gone.csv").unlink()
        assert list(remember(kept, look(tmp_path), set(), now=NOW)) == ["ä b.csv"]
        assert from_cursor(None) == {}
