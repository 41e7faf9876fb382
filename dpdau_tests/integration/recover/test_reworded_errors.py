"""No rule reads words: every text may be replaced, and verification, repair, restore and alerts go on as before."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dpdau_assets.cli.main import guarded
from dpdau_assets.core.quantities import DayRange
from dpdau_assets.errors import DpdauError
from dpdau_assets.operations.budget.lost_releases import assume_released
from dpdau_assets.operations.erase.request import request_erasure
from dpdau_assets.operations.monitor.alerts import find_alerts
from dpdau_assets.operations.monitor.due_work import due_releases
from dpdau_assets.operations.pipeline.erasure_replay import flush_deletes
from dpdau_assets.operations.recover.restore import restore
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_assets.operations.session.open_workspace import open_workspace
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.operations.verify.certificate import certify
from dpdau_assets.operations.verify.findings import Action, Finding, Kind, Note, Repair, Report
from dpdau_assets.operations.verify.verify import verify, verify_folder
from dpdau_assets.orchestration.failures import plain_failures
from dpdau_assets.settings.settings import Settings
from dpdau_assets.storage.journal.lines import files_in
from dpdau_tests.support.lost_ledgers import LAST, day, destroy_ledger, erase, ledger_file, release
from dpdau_tests.support.release_folders import NOW, add_activity, everybody, open_folder
from dpdau_tests.support.verified_folders import flip, follow

ANYTHING = "words"
Outcome = list[tuple[Any, ...]]


@contextmanager
def reworded() -> Iterator[None]:
    """Every message and hint of the error tree, and every line of a finding and a note, is one and the same word."""
    begin, find, note = DpdauError.__init__, Report.find, Report.note

    def say(self: DpdauError, message: str, *, hint: str = "") -> None:
        begin(self, ANYTHING, hint=ANYTHING)

    def report(self: Report, kind: Kind, place: str, message: str, *, repair: Repair) -> None:
        find(self, kind, place, ANYTHING, repair=replace(repair, line=ANYTHING))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DpdauError, "__init__", say)
        patch.setattr(Report, "find", report)
        patch.setattr(Report, "note", lambda self, one: note(self, Note(one.kind, ANYTHING)))
        yield


def shown(finding: Finding) -> tuple[Any, ...]:
    """A finding without its words; paths by their name only, for each run has a folder of its own."""
    repair = finding.repair
    return finding.kind, finding.place, repair.action, repair.days, tuple(path.name for path in repair.paths)


def ended(action: Callable[[], Any]) -> tuple[Any, ...]:
    """How something ends: the error's type, the exit code, and whether Dagster may try again."""
    try:
        action()
    except DpdauError as error:
        kept = error

        def again() -> None:
            raise kept

        with pytest.raises(dg.Failure) as failure, plain_failures():
            again()
        return type(kept), guarded(again, as_json=True), failure.value.allow_retries
    return None, 0, None


def opened(workspace: Workspace) -> Workspace:
    """The folder again."""
    return open_workspace(workspace.settings, clock=workspace.clock, create=False)


def changed(workspace: Workspace, **settings: Any) -> Settings:
    """The settings of a folder, some of them others."""
    return Settings(**{**workspace.settings.model_dump(exclude_unset=True), **settings})


def repaired(workspace: Workspace) -> Outcome:
    """What verification finds in a closed folder, how opening it ends, and what is left after the repairs."""
    settings, clock = workspace.settings, workspace.clock
    found = verify_folder(settings, clock=clock).findings
    seen: Outcome = [shown(finding) for finding in found]
    seen.append(ended(lambda: opened(workspace).close()))
    for finding in found:
        if finding.repair.action is Action.RESTORE:
            seen.append(ended(lambda: restore(settings, clock=clock)))
        elif finding.repair.action is not Action.REPAIR_SALTS:
            again = opened(workspace)
            follow(again, finding)
            again.close()
    seen += [shown(finding) for finding in verify_folder(settings, clock=clock).findings]
    return seen


def no_database(workspace: Workspace) -> Outcome:
    """The ledger's file is no database."""
    workspace.close()
    ledger_file(workspace).write_bytes(b"x" * 8192)
    return repaired(workspace)


def torn_database(workspace: Workspace) -> Outcome:
    """Every page of the ledger but the first is overwritten."""
    workspace.ledger.scrub()
    workspace.close()
    path = ledger_file(workspace)
    path.write_bytes(path.read_bytes()[:4096] + b"x" * (path.stat().st_size - 4096))
    return repaired(workspace)


def lost_ledger(workspace: Workspace) -> Outcome:
    """The ledger is gone."""
    destroy_ledger(workspace)
    return repaired(workspace)


def older_ledger(workspace: Workspace) -> Outcome:
    """The ledger is an older copy, while the journal went on."""
    workspace.ledger.scrub()
    copy = ledger_file(workspace).with_name("copy")
    shutil.copyfile(ledger_file(workspace), copy)
    release(workspace, 1, 3)
    erase(workspace, "user-2")
    workspace.ledger.scrub()
    workspace.close()
    copy.replace(ledger_file(workspace))
    return repaired(workspace)


def contradicted_ledger(workspace: Workspace) -> Outcome:
    """Rows are changed, which only a restore mends although SQLite finds the file intact."""
    with workspace.ledger.write() as connection:
        connection.exec_driver_sql("UPDATE releases SET drawn = drawn + 1")
    workspace.close()
    return repaired(workspace)


def intact_ledger(workspace: Workspace) -> Outcome:
    """Nothing is to be restored, and that is refused."""
    workspace.close()
    return [*repaired(workspace), ended(lambda: restore(workspace.settings, clock=workspace.clock))]


def damaged_lake(workspace: Workspace) -> Outcome:
    """Raw events are damaged, a foreign file and what a killed process left lie about."""
    lake = workspace.lake
    flip(min((lake.root / "lake" / "raw_events").rglob("*.parquet")))
    (lake.root / "lake" / "notes.txt").write_text("x")
    flip(min((lake.root / "lake" / "mau_unions").rglob("*.parquet")))
    workspace.close()
    return repaired(workspace)


def salts(change: Callable[[Path], object]) -> Callable[[Workspace], Outcome]:
    """The salt store is not as it should be."""

    def play(workspace: Workspace) -> Outcome:
        workspace.close()
        change(workspace.lake.secrets_path)
        return repaired(workspace)

    return play


def another_setting(workspace: Workspace) -> Outcome:
    """A setting disagrees with what is stored."""
    workspace.close()
    settings = changed(workspace, timezone="Asia/Tokyo")
    found = verify_folder(settings, clock=workspace.clock).findings
    return [*map(shown, found), ended(lambda: open_workspace(settings, clock=workspace.clock, create=False))]


def certificates(workspace: Workspace) -> Outcome:
    """Refused while somebody works and over a finding; given over a cap that only lost values exceed."""
    request = request_erasure(workspace, [b"user-3"], through=LAST, now=NOW).request
    seen: Outcome = [ended(lambda: certify(workspace, request))]
    flush_deletes(workspace)
    with workspace.lake.temporary_folder():
        seen.append(ended(lambda: certify(workspace, request)))
    (workspace.lake.root / "lake" / "notes.txt").write_text("x")
    seen.append(ended(lambda: certify(workspace, request)))
    (workspace.lake.root / "lake" / "notes.txt").unlink()
    workspace.ledger.scrub()
    workspace.close()
    shutil.rmtree(workspace.lake.root / "ledgers")
    journal = files_in(workspace.lake.journal_folder)[-1]
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-5] + lines[-4:]))
    restore(workspace.settings, clock=workspace.clock)
    again = opened(workspace)
    assume_released(again, DayRange(day(0), day(7)), reason="all of them")
    found = verify(again)
    seen.append((found.ok, [note.kind for note in found.notes]))
    seen.append((len(certify(again, request).not_covered),))
    again.close()
    return seen


def alerts(workspace: Workspace) -> Outcome:
    """An erasure is overdue, days are late, and months have no budget left; then the ledger cannot be read."""
    request_erasure(workspace, [b"user-3"], through=LAST, now=NOW - timedelta(hours=30))
    workspace.close()
    settings = changed(workspace, series_start=NOW.date() - timedelta(days=20))
    again = open_workspace(settings, clock=workspace.clock, create=False)
    told = [(alert.kind, alert.key, alert.month) for alert in find_alerts(again)]
    due = due_releases(again, DayRange(day(0), day(30)))
    again.close()
    ledger_file(again).write_bytes(b"x" * 8192)
    return [*told, (due.days, due.metrics, due.unfunded), ended(lambda: find_alerts(again)), *repaired(again)]


SCENARIOS: dict[str, Callable[[Workspace], Outcome]] = {
    "no-database": no_database,
    "torn-database": torn_database,
    "lost-ledger": lost_ledger,
    "older-ledger": older_ledger,
    "contradicted-ledger": contradicted_ledger,
    "intact-ledger": intact_ledger,
    "damaged-lake": damaged_lake,
    "lost-salts": salts(Path.unlink),
    "damaged-salts": salts(lambda path: path.write_bytes(b"x")),
    "open-salts": salts(lambda path: path.chmod(0o644)),
    "open-secrets": salts(lambda path: path.parent.chmod(0o777)),
    "another-setting": another_setting,
    "certificates": certificates,
    "alerts": alerts,
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_texts_decide_nothing(tmp_path: Path, name: str) -> None:
    """With every text replaced by one word the same is found, repaired, refused and told, and ends alike."""
    made = open_folder(tmp_path / "plain", mechanism="gaussian", dau_budget_total=0.6)
    add_activity(made, everybody(12, days=6))
    publish_releases(made, ("dau", "mau"), DayRange(day(0), day(1)))
    made.ledger.scrub()
    made.close()
    shutil.copytree(tmp_path / "plain", tmp_path / "reworded")
    expected = SCENARIOS[name](opened(made))
    other = open_workspace(changed(made, data_dir=tmp_path / "reworded"), clock=made.clock, create=False)
    with reworded():
        assert SCENARIOS[name](other) == expected


class TestPlaces:
    def test_a_folder_named_after_salt_is_no_salt_store(self, tmp_path: Path) -> None:
        """Where the data folder lies does not decide what is found damaged in it."""
        made = open_folder(tmp_path / "salt")
        made.close()
        ledger_file(made).write_bytes(b"x" * 8192)
        (finding,) = verify_folder(made.settings, clock=made.clock).findings
        assert (finding.kind, finding.repair.action) == ("ledger", Action.RESTORE)

    def test_a_salt_store_open_to_others_is_told_with_what_closes_it(self, tmp_path: Path) -> None:
        """Neither a file nor a folder of secrets that others can use is taken for a damaged ledger."""
        made = open_folder(tmp_path / "data")
        made.close()
        path = made.lake.secrets_path
        for place, mode, right in ((path, 0o644, 0o600), (path.parent, 0o777, 0o700)):
            place.chmod(mode)
            (finding,) = verify_folder(made.settings, clock=made.clock).findings
            assert (finding.kind, finding.repair.line) == ("salts", f"chmod {right:o} '{place}'")
            place.chmod(right)
