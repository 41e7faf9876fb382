"""Manual rotation of the salts: which dates, by whom, interrupted where; and copies of the store."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

import pytest

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.errors import ConfigurationError, DpdauError, InputError, StorageError
from dpdau_assets.operations.erase.request import request_erasure
from dpdau_assets.operations.ingest.stage import stage_files
from dpdau_assets.operations.lifecycle.rotate_salt import rotate_salt
from dpdau_assets.operations.pipeline.bring_up_to_date import bring_up_to_date
from dpdau_assets.operations.session.open_workspace import open_workspace
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.settings.settings import Settings
from dpdau_assets.storage.keys import salt_file
from dpdau_assets.storage.ledger import salt_facts
from dpdau_tests.support.command_line import CommandLine, write_lines
from dpdau_tests.support.crashes import count_steps, dies_at, sampled
from dpdau_tests.support.workspaces import copy_of, key_files

pytestmark = pytest.mark.untraced

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
TODAY = NOW.date()
NEXT_WEEK = TODAY + timedelta(days=7)
DAYS = DayRange(date(2026, 3, 10), date(2026, 3, 19))


def opened(folder: Path, **chosen: object) -> Workspace:
    return open_workspace(Settings(data_dir=folder, **chosen), clock=lambda: NOW)  # type: ignore[arg-type]


def filled(folder: Path, *, day: date = TODAY, **chosen: object) -> Workspace:
    """A folder with one event."""
    workspace = opened(folder / "data", **chosen)
    stage_files(workspace, [write_lines(folder / f"{day}.jsonl", [("ann", day)])])
    return workspace


def rotate_next_week(workspace: Workspace) -> object:
    return rotate_salt(workspace, NEXT_WEEK)


def _rotate_in_a_process(folder: Path, secret: bytes) -> str:
    try:
        return rotate_salt(opened(folder), NEXT_WEEK, secret=secret).record.fingerprint
    except DpdauError as error:
        return f"refused: {error.message}"


class TestDates:
    def test_it_must_lie_after_every_staged_day(self, tmp_path: Path) -> None:
        """The day after the last staged one is the earliest; before it the message names that day."""
        workspace = filled(tmp_path)
        with pytest.raises(InputError, match="2026-03-20") as caught:
            rotate_salt(workspace, TODAY)
        assert caught.value.hint == "the earliest possible date is 2026-03-21"
        assert rotate_salt(workspace, TODAY + timedelta(days=1)).record.effective == date(2026, 3, 21)

    def test_it_must_lie_after_every_held_day(self, tmp_path: Path) -> None:
        """Days that are folded count as well, also when nobody was active."""
        workspace = filled(tmp_path, day=date(2026, 3, 10))
        bring_up_to_date(workspace, DAYS)
        with pytest.raises(InputError) as caught:
            rotate_salt(workspace, date(2026, 3, 15))
        assert caught.value.hint == "the earliest possible date is 2026-03-20"

    def test_it_must_lie_after_every_erased_day(self, tmp_path: Path) -> None:
        """An erasure through tomorrow keeps tomorrow's epoch."""
        workspace = filled(tmp_path)
        request_erasure(workspace, [b"bob"], through=TODAY + timedelta(days=1), now=NOW)
        with pytest.raises(InputError) as caught:
            rotate_salt(workspace, TODAY + timedelta(days=1))
        assert caught.value.hint == "the earliest possible date is 2026-03-22"

    def test_it_must_lie_after_the_rotation_before_and_within_a_year(self, tmp_path: Path) -> None:
        """Rotations are made in order of their dates; a slip of the year is refused."""
        workspace = filled(tmp_path)
        rotate_salt(workspace, NEXT_WEEK)
        workspace = opened(workspace.lake.root)
        with pytest.raises(InputError, match="earlier rotation"):
            rotate_salt(workspace, NEXT_WEEK - timedelta(days=1))
        with pytest.raises(InputError, match="more than a year ahead"):
            rotate_salt(workspace, date(2206, 4, 1))

    def test_an_empty_folder_can_be_rotated_from_any_day(self, tmp_path: Path) -> None:
        """With nothing held, a day of the past is possible."""
        assert rotate_salt(opened(tmp_path / "data"), date(2025, 11, 1)).record.effective == date(2025, 11, 1)


class TestRepeats:
    def test_the_same_again_changes_nothing(self, tmp_path: Path) -> None:
        """Date, length and secret as before: the record is returned, the file stays."""
        workspace = filled(tmp_path)
        first = rotate_salt(workspace, NEXT_WEEK, secret=b"a secret")
        content = workspace.lake.secrets_path.read_bytes()
        second = rotate_salt(opened(workspace.lake.root), NEXT_WEEK, secret=b"a secret")
        assert (first.is_repeat, second.is_repeat) == (False, True)
        assert second.record == first.record
        assert workspace.lake.secrets_path.read_bytes() == content

    def test_another_on_the_same_date_is_refused(self, tmp_path: Path) -> None:
        """Another secret or another length on a date that has a rotation changes nothing."""
        workspace = filled(tmp_path)
        rotate_salt(workspace, NEXT_WEEK, secret=b"a secret")
        for other in ({"secret": b"another"}, {"secret": b"a secret", "rotation_days": 30}):
            with pytest.raises(InputError, match="starts on 2026-03-27 already"):
                rotate_salt(opened(workspace.lake.root), NEXT_WEEK, **other)  # type: ignore[arg-type]

    def test_every_rotation_is_listed_once(self, tmp_path: Path) -> None:
        """reports/rotations.md has date, epoch and fingerprint of each; a note written into it stays."""
        workspace = filled(tmp_path)
        first = rotate_salt(workspace, NEXT_WEEK).record
        path = workspace.lake.rotations_path
        path.write_text(path.read_text() + "\nseen by the privacy officer")
        rotate_salt(opened(workspace.lake.root), NEXT_WEEK)
        second = rotate_salt(opened(workspace.lake.root), NEXT_WEEK + timedelta(days=1)).record
        text = path.read_text()
        assert text.count(f"| 2026-03-27 | {first.epoch} | 90 | {first.fingerprint} |\n") == 1
        assert text.count(f"| 2026-03-28 | {second.epoch} | 90 | {second.fingerprint} |\n") == 1
        assert "\nseen by the privacy officer\n" in text


class TestMeanwhile:
    def test_whoever_opened_before_records_nothing_after(self, tmp_path: Path) -> None:
        """Staging, erasing and building with the salts of before a rotation are refused with one line."""
        early = filled(tmp_path)
        rotate_salt(opened(early.lake.root), NEXT_WEEK)
        source = write_lines(tmp_path / "late.jsonl", [("bob", TODAY)])
        files = key_files(early)
        with pytest.raises(StorageError, match="rotated meanwhile") as caught:
            stage_files(early, [source])
        assert key_files(early) == files
        assert "run it again" in caught.value.hint
        with pytest.raises(StorageError, match="rotated meanwhile"):
            request_erasure(early, [b"ann"], through=TODAY, now=NOW)
        with pytest.raises(StorageError, match="rotated meanwhile"):
            bring_up_to_date(early, DAYS)
        with pytest.raises(StorageError, match="rotated meanwhile"):
            rotate_salt(early, NEXT_WEEK + timedelta(days=1))
        assert stage_files(opened(early.lake.root), [source]).accepted == 1

    @pytest.mark.slow
    def test_of_two_operators_at_once_one_wins(self, tmp_path: Path) -> None:
        """Four processes rotate to the same date with secrets of their own: one rotation, three single lines."""
        workspace = filled(tmp_path)
        workspace.close()
        with get_context("spawn").Pool(4) as pool:
            folders = [(workspace.lake.root, bytes([65 + number]) * 20) for number in range(4)]
            answers = pool.starmap(_rotate_in_a_process, folders)
        made = [answer for answer in answers if not answer.startswith("refused")]
        assert len(made) == 1
        assert all("rotated meanwhile" in one or "already" in one for one in answers if one.startswith("refused"))
        assert opened(workspace.lake.root).salts.fingerprint() == made[0]


def check_kills(folder: Path, *, points: int) -> None:
    """Rotates, is killed, and looks at what is left."""
    begun = filled(folder)
    steps = count_steps(rotate_next_week, copy_of(begun, folder / "whole"))
    assert steps > 5
    seen = set()
    for step in sampled(steps, count=points):
        workspace = copy_of(begun, folder / f"dies-{step}")
        assert dies_at(step, rotate_next_week, workspace)
        again = opened(workspace.lake.root)
        seen.add(len(again.salts.rotations()))
        source = write_lines(folder / f"after-{step}.jsonl", [("bob", TODAY)])
        assert stage_files(again, [source]).accepted == 1
        rotate_salt(again, NEXT_WEEK)
        final = opened(workspace.lake.root)
        with final.ledger.read() as connection:
            assert salt_facts.fingerprint(connection) == final.salts.fingerprint()
        (record,) = final.salts.rotations()
        assert final.lake.rotations_path.read_text().count(record.fingerprint) == 1
        assert not salt_file.pending_path(final.lake.secrets_path).exists()
    assert seen == {0, 1}


class TestInterrupted:
    @pytest.mark.slow
    def test_killed_at_any_step_it_is_made_or_not_and_can_be_repeated(self, tmp_path: Path) -> None:
        """After a kill before any step the folder opens and ingests, and the same rotation can be given again."""
        check_kills(tmp_path, points=6)

    @pytest.mark.slow
    def test_every_step_can_be_the_last(self, tmp_path: Path) -> None:
        """The same for every single step."""
        check_kills(tmp_path, points=1000)

    def test_an_older_copy_of_the_store_is_refused(self, tmp_path: Path) -> None:
        """A salts.json from before the last rotation would key new days otherwise: it is named, not used."""
        workspace = filled(tmp_path)
        older = workspace.lake.secrets_path.read_bytes()
        fingerprint = rotate_salt(workspace, NEXT_WEEK).record.fingerprint
        workspace.lake.secrets_path.write_bytes(older)
        with pytest.raises(ConfigurationError, match=f"the last rotation made {fingerprint}"):
            opened(workspace.lake.root)


@pytest.fixture
def dpdau(tmp_path: Path) -> CommandLine:
    """A project with one event of an early day."""
    line = CommandLine(tmp_path / "project")
    line("ingest", "--from", write_lines(tmp_path / "events.jsonl", [("ann", date(2026, 3, 1))]))
    return line


class TestCommands:
    def test_the_answer_names_date_epoch_and_fingerprint(self, dpdau: CommandLine) -> None:
        """One JSON document; `salts` then shows the same fingerprint; no secret is printed by either."""
        done = dpdau("rotate-salt", "--effective", "2026-04-01", "--secret", "-", "--json", stdin=b"shh shh shh\n")
        shown = dpdau("salts", "--json")
        assert set(done.document) == {"effective", "epoch", "rotation_days", "fingerprint", "already_made"}
        assert shown.document["fingerprint"] == done.document["fingerprint"]
        assert [one["effective"] for one in shown.document["rotations"]] == ["2026-04-01"]
        secrets = json.loads((dpdau.data / "secrets" / "salts.json").read_text())["secrets"].values()
        text = done.out + done.err + shown.out + dpdau("salts").out
        assert not [secret for secret in (*secrets, "shh") if secret in text]

    def test_a_date_that_is_held_is_bad_input(self, dpdau: CommandLine) -> None:
        """Exit code 3, one line, with the earliest possible date."""
        answer = dpdau("rotate-salt", "--effective", "2026-02-01")
        assert answer.code == 3
        assert answer.err.count("\n") == 1
        assert "the earliest possible date is 2026-03-02" in answer.err

    def test_a_secret_in_plain_text_is_a_usage_error(self, dpdau: CommandLine) -> None:
        """It would be seen by everybody on the machine; it is not repeated in the message."""
        answer = dpdau("rotate-salt", "--effective", "2026-04-01", "--secret", "hush-hush")
        assert answer.code == 2
        assert "hush-hush" not in answer.err

    def test_a_new_length_must_follow_into_the_settings(self, dpdau: CommandLine) -> None:
        """The command says so, the old setting is refused from then on, and the new one works."""
        answer = dpdau("rotate-salt", "--effective", "2026-04-01", "--rotation-days", "30", "--secret", "b64:AAECAw==")
        assert answer.code == 0
        assert "HASH_SALT_ROTATION_DAYS=30" in answer.err
        assert "HASH_SALT_ROTATION_DAYS=30" in dpdau("status").err
        (dpdau.folder / ".env").write_text("HASH_SALT_ROTATION_DAYS=30\n")
        assert dpdau("status").code == 0


class TestCopies:
    @pytest.mark.slow
    def test_an_export_brings_a_lost_store_back(self, dpdau: CommandLine, tmp_path: Path) -> None:
        """Exported with a passphrase, lost, imported: the same keys; the file holds no secret in clear, 0600."""
        out = tmp_path / "salts.export"
        store = dpdau.data / "secrets" / "salts.json"
        before = json.loads(store.read_text())
        made = dpdau.json("salts", "export", "--out", out, "--passphrase", "-", stdin=b"correct horse\n")
        assert out.stat().st_mode & 0o777 == 0o600
        content = out.read_bytes()
        assert before["secrets"]["0"].encode() not in content and before["batch_key"].encode() not in content
        store.unlink()
        assert "dpdau salts import FILE" in dpdau("status").err
        wrong = dpdau("salts", "import", out, "--passphrase", "-", stdin=b"another\n")
        assert (wrong.code, wrong.err.count("\n"), store.exists()) == (3, 1, False)
        done = dpdau.json("salts", "import", out, "--passphrase", "-", stdin=b"correct horse\n")
        assert done == {"fingerprint": made["fingerprint"], "lowest_epoch": 0, "unchanged": False}
        assert json.loads(store.read_text()) == before
        assert store.stat().st_mode & 0o777 == 0o600
        assert dpdau.json("salts", "import", out, "--passphrase", "-", stdin=b"correct horse\n")["unchanged"]

    @pytest.mark.slow
    def test_a_change_anywhere_in_the_file_is_noticed(self, dpdau: CommandLine, tmp_path: Path) -> None:
        """Header and content are authenticated together."""
        out = tmp_path / "salts.export"
        dpdau.json("salts", "export", "--out", out, "--passphrase", "-", stdin=b"correct horse\n")
        document = json.loads(out.read_text())
        for name, value in (("fingerprint", "0" * 16), ("nonce", "0" * 24), ("version", 2), ("content", "AAAA")):
            out.write_text(json.dumps({**document, name: value}))
            answer = dpdau("salts", "import", out, "--passphrase", "-", stdin=b"correct horse\n")
            assert (answer.code, answer.err.count("\n")) == (3, 1), name

    @pytest.mark.slow
    def test_an_export_of_another_folder_or_before_a_rotation_is_refused(
        self, dpdau: CommandLine, tmp_path: Path
    ) -> None:
        """Only the store that the stored pseudonyms were made with comes back."""
        foreign, early = tmp_path / "foreign.export", tmp_path / "early.export"
        other = CommandLine(tmp_path / "other")
        other("init")
        other.json("salts", "export", "--out", foreign, "--passphrase", "-", stdin=b"correct horse\n")
        dpdau.json("salts", "export", "--out", early, "--passphrase", "-", stdin=b"correct horse\n")
        dpdau.json("rotate-salt", "--effective", "2026-04-01")
        for path, reason in ((foreign, "not of the salt store"), (early, "the last rotation made")):
            answer = dpdau("salts", "import", path, "--passphrase", "-", stdin=b"correct horse\n")
            assert answer.code == 1
            assert reason in answer.err

    def test_exports_are_refused_without_a_proper_passphrase_or_over_a_file(
        self, dpdau: CommandLine, tmp_path: Path
    ) -> None:
        """A short passphrase, one on the command line, none at all, and an existing file."""
        out = tmp_path / "salts.export"
        assert dpdau("salts", "export", "--out", out, "--passphrase", "-", stdin=b"short\n").code == 3
        assert dpdau("salts", "export", "--out", out, "--passphrase", "correct horse").code == 2
        assert dpdau("salts", "export", "--out", out).code == 2
        assert not out.exists()
        out.write_text("something")
        assert dpdau("salts", "export", "--out", out, "--passphrase", "-", stdin=b"correct horse\n").code == 3
        assert out.read_text() == "something"
