"""A data folder that lives through many killed commands, and what must hold in it after every restart.

`World` gives the real commands in the order of a small story (two batches with late events and erasures, releases by
hand and by Dagster, a rotation, a rebuild, a backup), kills most of them, some several times in a row and some until
after the next command, and keeps a naive account of what was acknowledged. A command whose process died may or may not
have happened, until it is repeated: both are accepted until then, nothing else.
"""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from dpdau_assets.core.quantities import METRICS, DayRange
from dpdau_assets.errors import StorageError
from dpdau_assets.operations.budget.snapshot import report_budget
from dpdau_assets.operations.pipeline.trusted_counts import count_trusted
from dpdau_assets.operations.session.open_workspace import open_workspace
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.operations.verify.verify import verify_folder
from dpdau_assets.orchestration.instance.home import create_home
from dpdau_assets.orchestration.partitions import range_tags
from dpdau_assets.settings.settings import Settings, create_project
from dpdau_assets.storage.journal import lines
from dpdau_tests.support.campaign_terms import (
    BACKUP_POINTS,
    DAYS,
    FIRST,
    LAST,
    PERIOD,
    RANDOM,
    RELEASE_POINTS,
    REPLAY_POINTS,
    RESTORE_POINTS,
    RETAIN_POINTS,
    SETTINGS,
    STAGE_POINTS,
    WINDOW_DAYS,
    Command,
    Erasure,
    Event,
    Tally,
    day,
)
from dpdau_tests.support.naive import naive_counts
from dpdau_tests.support.processes import Ended, run, start
from dpdau_tests.support.workspaces import files_holding


class World:
    """One data folder under fire.

    Args:
        folder: A new project folder.
        seed: Decides everything that is random, but for the moments of `random moment`.
        tally: What was done, shared between worlds.
        settings: Settings beside those of every world.
    """

    def __init__(self, folder: Path, *, seed: int, tally: Tally, **settings: Any) -> None:
        self.folder = folder
        self.tally = tally
        self._random = random.Random(seed)
        self._left_out = ("dagster erasure_replay_job", "dagster daily_release_job")[seed % 2]  # the slowest, in turn
        self._given = {**SETTINGS, **settings}
        if "journal_mirror_dir" in settings:
            self._given["journal_mirror_dir"] = folder / str(settings["journal_mirror_dir"])
        self.settings = Settings(data_dir=folder / "data", **self._given)
        self._events: list[Event] = []
        self._erasures: list[Erasure] = []
        self._waiting: list[Command] = []
        self._cleared: set[str] = set()
        self._seen: dict[tuple[str, date, int], int] = {}
        self._drawn: dict[tuple[str, date, int], int] = {}
        self._counted = DayRange(FIRST, day(8))  # counting a day makes it one that is held, and not to be rotated on
        create_project(folder, **{name.upper(): str(value) for name, value in self._given.items()})
        create_home(folder / "home")
        (folder / "data" / "inbox").mkdir(parents=True)

    def story(self) -> list[Command]:
        """The commands in order, with one run of Dagster among them."""
        first, late, rest = self.activity(0, 5), self.activity(0, 8), self.activity(2, 12)
        gone = tuple((f"gone-{number}", day(6)) for number in (2, 3))
        commands = [
            replace(self.ingest("first.jsonl", first, ()), may_wait=False),  # what follows needs the folder it makes
            self.release(0, 1),
            self.erase(("gone-0", "gone-1"), day(5)),
            self.ingest("data/inbox/late.jsonl", late, gone),
            Command("flush-deletes", ("dpdau", "flush-deletes"), REPLAY_POINTS, clears=True),
            self.release(2, 3),
            Command("backup", ("dpdau", "backup", "--lake"), BACKUP_POINTS),
            self.dagster("daily_release_job", DayRange(day(2), day(5))),
            Command(
                "rotate-salt",
                ("dpdau", "rotate-salt", "--effective", str(day(9))),
                ("rotate", "rename", "write", "sync", "journal", "commit", "committed", "answer"),
                may_wait=False,
            ),
            self.ingest("rest.jsonl", rest, (("gone-4", day(7)),)),
            self.erase(("gone-5",), day(12), "--wait"),
            Command(
                "rebuild",
                ("dpdau", "rebuild", "--start", str(FIRST), "--end", str(LAST)),
                ("fold", *REPLAY_POINTS),
            ),
            self.dagster("erasure_replay_job", DAYS),
            Command("backup", ("dpdau", "backup"), BACKUP_POINTS),
            self.release(6, 8, *(() if self.settings.mechanism == "joint" else ("--metric", "mau"))),
            Command(
                "revise",
                ("dpdau", "release", "--start", str(day(1)), "--end", str(day(1)), "--revise", "--reason", "late data"),
                ("charge", "draw", "journal", "commit", "committed", "answer"),
            ),
            self.release(9, 12),
        ]
        return [command for command in commands if command.kind != self._left_out]

    def play(self, command: Command, *, kills: int, least: Callable[[Sequence[str]], str]) -> None:
        """Gives a command, kills it `kills` times, and repeats it until it is done, now or after the next one.

        Args:
            command: The command.
            kills: How often it is killed before it may end.
            least: Chooses one of the points.
        """
        for _ in range(kills):
            if command.consumes is not None and not command.consumes.exists():
                break  # it has happened
            if not self._is_killed(command, least((*command.points, RANDOM))):
                self.acknowledge(command)
                self.check()
                return
            if self._random.random() < 0.5:
                self.check(unknown=[*self._waiting, command])
        if command.may_wait and self._random.random() < 0.3:
            self._waiting.append(command)
            return
        self._finish(command)
        while self._waiting:
            self._finish(self._waiting.pop())

    def finish(self) -> None:
        """Repeats what waits, and checks what holds at the end of a story."""
        while self._waiting:
            self._finish(self._waiting.pop())
        done = run(self.folder, ("dpdau", "flush-deletes"))
        assert done.code == 0, done.err
        self._cleared |= {user for user, _ in self._erasures}
        self.check()
        self._check_caps()

    def lose_the_ledger(self, *, kills: int, least: Callable[[Sequence[str]], str]) -> None:
        """The ledger is deleted, cut or garbled; `dpdau restore`, killed on its way, brings all of it back."""
        ledger = self.folder / "data" / "ledgers" / "ledger.sqlite"
        content = bytearray(ledger.read_bytes())
        way = self._random.choice(("deleted", "cut", "garbled"))
        if way == "deleted":
            ledger.unlink()
        else:
            content[:8192] = self._random.randbytes(8192)
            ledger.write_bytes(ledger.read_bytes()[: len(content) // 2] if way == "cut" else content)
        command = Command("restore", ("dpdau", "restore"), RESTORE_POINTS)
        for number in range(kills):
            self._is_killed(command, least((*command.points, RANDOM)), may_be_done=number > 0)
        self._check_ended(command, run(self.folder, command.line), may_be_done=True)
        self.check(unknown=())

    def retain(self, offset: int, *, kills: int, least: Callable[[Sequence[str]], str]) -> None:
        """Days before `offset` pass retention, by a run that is killed on its way; every count stays as it was."""
        rebuild = Command("rebuild", ("dpdau", "rebuild", "--start", str(FIRST), "--end", str(LAST)), ())
        self._finish(rebuild)  # what is kept of a dropped day is what is stored of it
        kept = datetime.now(UTC).date() - day(offset)
        with (self.folder / ".env").open("a") as stream:
            stream.write(f"RETENTION_DAYS={kept.days}\n")
        self.settings = Settings(data_dir=self.folder / "data", retention_days=kept.days, **self._given)
        self.play(
            Command("apply-retention", ("dpdau", "apply-retention"), RETAIN_POINTS, may_wait=False),
            kills=kills,
            least=least,
        )
        held = {path.name for path in (self.folder / "data" / "lake" / "raw_events").iterdir()}
        assert min(held) == f"day={day(offset)}"

    def _is_killed(self, command: Command, point: str, *, may_be_done: bool = False) -> bool:
        """Starts the command and kills it at the point; False when it came to its end."""
        known = self.tally.passed.setdefault(command.kind, {})
        if point == RANDOM:
            running = start(self.folder, command.line, stdin=command.stdin)
            moment = self._random.uniform(0.02, self.tally.seconds.get(command.kind, 1.0))
            done, died_at = running.kill_after(moment), RANDOM
        else:
            nth = self._random.randint(1, max(1, known.get(point, 2)))
            done = run(self.folder, command.line, point=point, nth=nth, stdin=command.stdin)
            died_at = done.died_at or ""
        if done.code == -9:
            self.tally.hits[died_at] += 1
            self.tally.kinds[command.kind] += 1
            return True
        self._check_ended(command, done, may_be_done=may_be_done)
        return False

    def _finish(self, command: Command) -> None:
        if command.consumes is None or command.consumes.exists():
            began = time.monotonic()
            self._check_ended(command, run(self.folder, command.line, stdin=command.stdin))
            self.tally.seconds[command.kind] = time.monotonic() - began
        self.acknowledge(command)
        self.check()

    def _check_ended(self, command: Command, done: Ended, *, may_be_done: bool = False) -> None:
        """It ended well; a restore that was done before may refuse to do it again."""
        is_refusal = may_be_done and "lacks nothing" in done.err
        assert done.code == 0 or is_refusal, f"{command.kind} ended with {done.code}: {done.err[-3000:]}"
        self.tally.passed.setdefault(command.kind, {}).update(done.counts)

    def acknowledge(self, command: Command) -> None:
        """Takes note that a command came to its end: what it brought must never be lost again."""
        self.tally.completed += 1
        self._events += command.events
        self._erasures += command.erasures
        if command.kind == "rotate-salt":
            self._counted = DAYS
        if command.clears:
            self._cleared |= {user for user, _ in self._erasures}

    def check(self, *, unknown: Sequence[Command] | None = None) -> None:
        """Everything that must hold now, when the commands in `unknown` may have happened or not."""
        self.tally.checks += 1
        uncertain = self._waiting if unknown is None else unknown
        try:
            workspace = open_workspace(self.settings, create=False)
        except StorageError:
            assert self._events == []  # killed before there was a ledger
            return
        try:
            self._check_ledger(workspace)
            self._check_counts(workspace, uncertain)
            held = {path for user in self._cleared for path in files_holding(workspace, user, first=FIRST, last=LAST)}
            old = {
                path for path in held if path.startswith("backups/")
            }  # copies of before; verify looks at those since
            assert held <= old, "an erased user is back"
        finally:
            workspace.close()
        left = ("leftover", "unknown", "backup") if uncertain else ()  # of a command that was not repeated yet
        found = [finding.to_json() for finding in verify_folder(self.settings).findings if finding.kind not in left]
        assert found == [], found

    def _check_counts(self, workspace: Workspace, unknown: Sequence[Command]) -> None:
        """No acknowledged event is lost, none counts twice, no erasure is undone."""
        days = self._counted
        counts = count_trusted(workspace, days.first, days.last)
        possible = []
        for chosen in itertools.product((False, True), repeat=len(unknown)):
            happened = list(itertools.compress(unknown, chosen))
            events = [*self._events, *(event for command in happened for event in command.events)]
            erasures = [*self._erasures, *(erasure for command in happened for erasure in command.erasures)]
            possible.append(naive_counts(events, erasures, days, mau_window_days=WINDOW_DAYS))
        assert counts in possible

    def _check_ledger(self, workspace: Workspace) -> None:
        """Every charge has its release and every release its charge, once; values seen before stay."""
        with workspace.ledger.read() as connection:
            charges = connection.exec_driver_sql("SELECT charge, account, metric, day, kind FROM charges").all()
            releases = connection.exec_driver_sql("SELECT charge, metric, day, revision, drawn FROM releases").all()
        names = {row[0]: row[2] for row in charges}
        assert {row[0]: row[2] for row in releases} == {
            row[0]: row[3] for row in charges if row[4] in ("release", "revision")
        }, "charges and releases do not go together"
        assert all(names[row[0]] in (row[1], "joint") for row in releases)
        opened = {row[1] for row in charges if row[4] in ("release", "revision")}
        assert {row[1] for row in charges} <= opened, "something was charged without a release"
        values = {(row[1], date.fromisoformat(row[2]), int(row[3])): int(row[4]) for row in releases}
        assert len(values) == len(releases)
        changed = [key for key, drawn in self._seen.items() if values.get(key) != drawn]
        assert changed == [], "a value that was seen is gone or was drawn again"
        self._seen = values
        self._check_journal(values)

    def _check_journal(self, values: Mapping[tuple[str, date, int], int]) -> None:
        """Whatever was drawn and written down stays the value, also when the process died before the commit."""
        for path in lines.files_in(self.folder / "data" / "journal"):
            for line in lines.lines_of(path):
                for entry in line.document()["notes"]:
                    if entry["note"] == "release":
                        key = (entry["metric"], date.fromisoformat(entry["day"]), int(entry["revision"]))
                        drawn = self._drawn.setdefault(key, int(entry["drawn"]))
                        assert drawn == int(entry["drawn"]), "a value was drawn twice"
        wrong = [key for key, drawn in values.items() if self._drawn.get(key) != drawn]
        assert wrong == [], "a release is not in the journal"

    def _check_caps(self) -> None:
        workspace = open_workspace(self.settings, create=False)
        for metric in METRICS:
            state = report_budget(workspace, metric, PERIOD)
            assert state.release_count > 0
            assert 0 < state.epsilon_spent <= state.epsilon_cap
        workspace.close()

    def activity(self, first: int, last: int) -> tuple[Event, ...]:
        """Who is active from one day to another; users who will be gone are active on the first days only."""
        users = [*(f"user-{number}" for number in range(25)), *(f"gone-{number}" for number in range(6))]
        spread = [(user, day(offset)) for user in users for offset in range(first, last + 1)]
        chosen = [(user, on) for user, on in spread if self._random.random() < 0.25]
        return tuple((user, on) for user, on in chosen if user.startswith("user") or on <= day(5))

    def ingest(self, name: str, events: tuple[Event, ...], erasures: tuple[Erasure, ...]) -> Command:
        """Ingests a file of events and of "-" rows, which is made here."""
        rows = [*((user, on, "+") for user, on in events), *((user, on, "-") for user, on in erasures)]
        self._random.shuffle(rows)
        path = self.folder / name
        path.write_text("".join(json.dumps({"user_id": u, "day": str(on), "op": op}) + "\n" for u, on, op in rows))
        consumes = path if "inbox" in name else None
        line = ("dpdau", "ingest", "--from", name)
        return Command("ingest", line, STAGE_POINTS, events, erasures, consumes=consumes)

    @staticmethod
    def erase(users: tuple[str, ...], through: date, *options: str) -> Command:
        """Erases users; with `--wait` their files are clean at the end."""
        points = REPLAY_POINTS if options else ("write", "sync", "journal", "commit", "committed", "answer")
        return Command(
            "erase --wait" if options else "erase",
            ("dpdau", "erase", "-", "--through", str(through), *options),
            points,
            erasures=tuple((user, through) for user in users),
            stdin="".join(f"{user}\n" for user in users),
            clears=bool(options),
        )

    @staticmethod
    def release(first: int, last: int, *options: str) -> Command:
        """Releases days, counted from the first."""
        line = ("dpdau", "release", "--start", str(day(first)), "--end", str(day(last)), *options)
        return Command("release", line, (*RELEASE_POINTS, "answer"))

    @staticmethod
    def dagster(job: str, days: DayRange) -> Command:
        """Runs a job of Dagster over a range of days, as the daemon would."""
        tags = json.dumps(range_tags(days))
        module = ("-m", "dpdau_assets.definitions", "-a", "defs")
        line = ("dagster", "job", "execute", *module, "-j", job, "--tags", tags)
        return Command(f"dagster {job}", line, RELEASE_POINTS if job == "daily_release_job" else REPLAY_POINTS[:-1])
