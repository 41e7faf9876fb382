"""Verification: damage of every kind is found and named, with the command that repairs it: files, ledger, journal."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.errors import ConfigurationError, DataError, StorageError
from dpdau_assets.operations.budget.lost_releases import set_unaccounted
from dpdau_assets.operations.budget.reset import reset_budget
from dpdau_assets.operations.erase.live_users import replay_in_session
from dpdau_assets.operations.erase.request import request_erasure
from dpdau_assets.operations.ingest.discard_batch import discard_batch
from dpdau_assets.operations.pipeline.bring_up_to_date import bring_up_to_date
from dpdau_assets.operations.pipeline.erasure_replay import flush_deletes
from dpdau_assets.operations.pipeline.trusted_counts import count_trusted
from dpdau_assets.operations.recover.backup import backup
from dpdau_assets.operations.recover.rebuild import rebuild
from dpdau_assets.operations.recover.restore import restore
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_assets.operations.session.open_workspace import open_workspace
from dpdau_assets.operations.session.session import lake_session
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.operations.verify.findings import RESTORE, Verification
from dpdau_assets.operations.verify.verify import verify, verify_folder
from dpdau_assets.settings.settings import Settings
from dpdau_assets.storage.journal.lines import files_in
from dpdau_assets.storage.ledger import batches
from dpdau_tests.support.verified_folders import FIRST, build, flip, follow, journal_file, key_of, the
from dpdau_tests.support.workspaces import LONG_AFTER, copy_of, new_workspace, stage_activity

pytestmark = [pytest.mark.untraced, pytest.mark.one_is_enough]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A built folder; tests work on copies."""
    return build(tmp_path_factory.mktemp("built"), "kmv")


@pytest.fixture
def workspace(built: Workspace, tmp_path: Path) -> Workspace:
    """A copy of the built folder."""
    return copy_of(built, tmp_path / "data")


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
        assert finding.repair.line == f"dpdau rebuild --start {day} --end {day}"
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
        assert "dpdau restore --lake" in found.findings[0].repair.line
        with pytest.raises(DataError):
            rebuild(workspace, DayRange.single(day))

    def test_a_replay_never_puts_a_damaged_file_over_the_last_intact_one(self, tmp_path: Path) -> None:
        """Live users that are a file of their own stay when the raw events they would refer to are damaged."""
        workspace = new_workspace(tmp_path / "data", sketch_impl="set")  # where nobody is erased, no file is read
        stage_activity(workspace, [(f"user-{number}", FIRST) for number in range(40)])
        bring_up_to_date(workspace, DayRange.single(FIRST))
        flip(sorted(workspace.lake.partition_folder("raw_events", FIRST).iterdir())[0])
        live = sorted(workspace.lake.partition_folder("erasure_replay", FIRST).iterdir())[0]
        before = live.read_bytes()
        with lake_session(workspace, None, is_thorough=True) as session, pytest.raises(DataError, match="recorded"):
            replay_in_session(session, session.days)
        assert live.read_bytes() == before
        rebuild(workspace, DayRange.single(FIRST))
        assert verify(workspace) == Verification(())

    def test_what_nothing_brings_back_can_be_given_up(self, workspace: Workspace) -> None:
        """Without a copy, a rebuild that accepts the loss goes on without lost files, and erasures complete again."""
        day = FIRST + timedelta(days=6)
        for asset in ("raw_events", "erasure_replay"):
            shutil.rmtree(workspace.lake.partition_folder(asset, day))
        with workspace.ledger.read() as connection:
            file = batches.staged_between(connection)[0]
        flip(workspace.lake.staging_path(file.day, batch=file.batch, epoch=file.epoch))
        request_erasure(workspace, [b"user-7"], through=day, now=LONG_AFTER)
        with pytest.raises(DataError):
            flush_deletes(workspace)
        rebuild(workspace, DayRange.single(day), accept_loss=True)
        rebuild(workspace, DayRange.single(file.day), accept_loss=True)
        assert count_trusted(workspace, day, day)[0]["dau"] == 0
        stage_activity(workspace, [("user-8", day)])
        assert count_trusted(workspace, day, day)[0]["dau"] == 1
        assert flush_deletes(workspace) == 1
        assert verify(workspace) == Verification(())

    def test_a_damaged_staged_file_names_its_batch(self, workspace: Workspace) -> None:
        """A staged file that is damaged comes from its source again, after its batch was discarded."""
        with workspace.ledger.read() as connection:
            file = batches.staged_between(connection)[0]
        flip(workspace.lake.staging_path(file.day, batch=file.batch, epoch=file.epoch))
        finding = the("damaged", verify(workspace))
        assert finding.repair.line.startswith(f"dpdau discard-batch {file.batch}, then ingest")
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
        workspace.lake.intent_path.write_bytes(content)
        finding = the("leftover", verify(workspace))
        assert (finding.place, finding.repair.line.split()[1]) == ("lake", command)
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
        assert all("dpdau restore" in finding.repair.line for finding in found.findings)
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
        assert "dpdau restore" in finding.repair.line

    def test_a_lake_without_ledger_gets_no_new_one(self, workspace: Workspace) -> None:
        """Where the ledger and the file that names it are gone, the journal still tells that there was one."""
        workspace.close()
        for path in (*workspace.lake.ledger_path.parent.glob("ledger.sqlite*"), workspace.lake.ledger_id_path):
            path.unlink()
        with pytest.raises(ConfigurationError, match="belongs to ledger"):
            open_workspace(workspace.settings, clock=workspace.clock)
        finding = the("ledger", verify_folder(workspace.settings, clock=workspace.clock))
        assert "dpdau restore" in finding.repair.line

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

    def test_a_folder_that_may_not_be_used_is_an_error(
        self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What the machine refuses says nothing about the ledger: no finding would send anybody to a restore."""

        def refused(*_: object, **__: object) -> None:
            raise StorageError("the ledger cannot be opened", hint="give this user access")

        workspace.close()
        monkeypatch.setattr("dpdau_assets.operations.session.open_workspace.open_existing", refused)
        with pytest.raises(StorageError, match="cannot be opened"):
            verify_folder(workspace.settings, clock=workspace.clock)

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

    @pytest.mark.parametrize("with_copy", [False, True], ids=["journal", "copy"])
    def test_the_restore_that_a_finding_names_repairs_it(self, workspace: Workspace, with_copy: bool) -> None:
        """Rows changed behind our back come back from the journal, although SQLite finds the file whole."""
        for statement in (
            "DELETE FROM releases WHERE metric = 'dau'",
            "UPDATE releases SET drawn = drawn + 1",
            "UPDATE charges SET day = '2026-03-31'",
            "UPDATE partitions SET digest = 'x' WHERE day = '2026-03-22'",
            "UPDATE erasure_log SET seq = 1",
            "INSERT INTO resets VALUES (9, 'dau', '2026-03', 2, '', '')",
        ):
            with workspace.ledger.write() as connection:
                connection.exec_driver_sql(statement)
        if with_copy:
            backup(workspace)  # which holds the wrong rows as well
        found = verify(workspace).findings
        assert {finding.repair for finding in found} == {RESTORE}
        assert len({finding.place for finding in found}) == 6
        workspace.close()
        restore(workspace.settings, clock=workspace.clock)
        assert verify_folder(workspace.settings, clock=workspace.clock) == Verification(())

    def test_the_rebuild_that_a_finding_names_repairs_it(self, workspace: Workspace) -> None:
        """A partition that lags behind a complete request is made again by the command as it is printed."""
        with workspace.ledger.write() as connection:
            connection.exec_driver_sql("UPDATE partitions SET applied_erasure_seq = 1 WHERE asset = 'mau_unions'")
        follow(workspace, the("ledger", verify(workspace)))
        assert verify(workspace) == Verification(())

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
        for finding in found.findings:
            follow(workspace, finding)
        assert verify(workspace) == Verification(())
        publish_releases(workspace, ["wau"], DayRange.single(FIRST))
        assert verify(workspace) == Verification(())
        with workspace.ledger.write() as connection:
            connection.exec_driver_sql("UPDATE releases SET drawn = drawn + 1 WHERE metric = 'wau'")
        assert "a row differs" in the("journal", verify(workspace)).message

    def test_a_lost_end_is_found(self, workspace: Workspace) -> None:
        """A journal that ends before the ledger's last transaction is found, and harmless once there is a copy."""
        path = journal_file(workspace)
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
        finding = the("journal", verify(workspace))
        assert "last transaction" in finding.message
        follow(workspace, finding)
        assert verify(workspace) == Verification(())
        publish_releases(workspace, ["wau"], DayRange.single(FIRST))
        assert verify(workspace) == Verification(())

    def test_a_lost_journal_is_found(self, workspace: Workspace) -> None:
        """Without any line left the same holds."""
        journal_file(workspace).unlink()
        follow(workspace, the("journal", verify(workspace)))
        assert verify(workspace) == Verification(())

    def test_lines_of_another_ledger(self, workspace: Workspace, tmp_path: Path) -> None:
        """A foreign line is found; a backup makes the file that holds it dispensable, and it may be removed."""
        other = new_workspace(tmp_path / "other")
        stage_activity(other, [("user-1", FIRST)])
        with journal_file(workspace).open("ab") as stream:
            stream.write(journal_file(other).read_bytes())
        found = verify(workspace).findings
        assert {finding.kind for finding in found} == {"journal"}
        assert found[0].repair.line.startswith("dpdau backup, then rm ")
        backup(workspace)
        follow(workspace, found[0])
        assert verify(workspace) == Verification(())

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
                "dpdau restore",
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
        assert found[0].repair.line.startswith(repair)

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
        finding = the("journal", verify(workspace))
        assert finding.place == f"the journal's {path.name}"
        assert finding.repair.line == f"cp {workspace.lake.journal_folder / path.name} {path}"
        shutil.copyfile(*finding.repair.line.split()[1:])
        assert verify(workspace) == Verification(())

    def test_a_second_copy_that_vanishes_while_we_run_comes_back_complete(self, tmp_path: Path) -> None:
        """The next transaction of a process that had it open makes all of it again."""
        mirror = tmp_path / "mirror"
        workspace = new_workspace(tmp_path / "data", journal_mirror_dir=mirror)
        stage_activity(workspace, [("user-1", FIRST)])
        shutil.rmtree(mirror)
        stage_activity(workspace, [("user-2", FIRST)])
        assert files_in(mirror)[0].read_bytes() == journal_file(workspace).read_bytes()
        assert verify(workspace) == Verification(())
