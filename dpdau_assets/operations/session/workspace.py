"""One open data folder: settings, lake, ledger, salts and clock, handed to every operation.

Belongs here: opening and checking the folder, the facts frozen at the first ingest, the clock that never goes back.
This is the composition module of the operations room; nothing else opens the lake or the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

from sqlalchemy import Connection

from dpdau_assets.core.mechanisms.interface import NoiseSource
from dpdau_assets.core.quantities import EARLIEST_DAY, Metric
from dpdau_assets.core.release.counts import Counts
from dpdau_assets.core.sketches.plan import SketchPlan
from dpdau_assets.errors import ConfigurationError, InternalError, SaltStoreMismatchError, StorageError
from dpdau_assets.settings.settings import Settings
from dpdau_assets.storage.keys.salt_store import SaltStore
from dpdau_assets.storage.lake.lake import Lake
from dpdau_assets.storage.ledger import batches, salt_facts
from dpdau_assets.storage.ledger.ledger import Ledger, get_meta, parse_time, set_meta, time_text

Clock = Callable[[], datetime]
"""Gives an aware time."""

SALTS_KEY = "salts_identity"
FLOOR_KEY = "series_floor"
FLOOR_SLACK_DAYS = 366
"""How much earlier than when it was first set SERIES_START may be moved later."""
HIGH_WATER_KEY = "clock_high_water"
LONGEST_SILENCE = timedelta(days=62)
"""A clock further ahead of the newest batch, release and retention is not believed without a person."""


def utc_now() -> datetime:
    """The machine's time."""
    return datetime.now(UTC)


class NoiseFactory(Protocol):
    """Makes the noise source of one draw, in place of the one that the settings say."""

    def __call__(self, *, account: int, draw: int) -> NoiseSource:
        """The noise source of one draw.

        Args:
            account: Number of the budget account.
            draw: Number within the account, never used twice: below 0 for its shared noise, 0 for its search for a
                first threshold, else the number of the charge.
        """


@dataclass(frozen=True, repr=False, slots=True)
class ReleaseSnapshot:
    """What a release asks to be counted.

    Attributes:
        workspace: The open data folder.
        days: Days to count, in order.
        metrics: Metrics to count.
        take: Brings everything up to date and counts it, as a release without a recorder does.
    """

    workspace: Workspace
    days: Sequence[date]
    metrics: Sequence[Metric]
    take: Callable[[], Counts]


class CountRecorder(Protocol):
    """Sees the counts of every snapshot, and decides which ones the draws get."""

    def counts(self, snapshot: ReleaseSnapshot) -> Counts:
        """The counts that draws are made from (sensitive)."""


@dataclass(frozen=True, repr=False)
class Workspace:
    """An open data folder.

    Attributes:
        settings: All settings.
        lake: The files.
        ledger: The SQL ledger.
        salts: The pseudonyms' keys; prints as nothing.
        clock: The machine's clock; operations use `now`.
        ledger_id: The ledger's random name.
        is_synthetic: Whether the folder was created for synthetic data, which alone allows seeded noise.
        noise: Noise of another origin, for experiments and audits; what is drawn with it is never marked private. None
            for the noise that the settings say.
        recorder: What sees the counts before noise, for experiments and audits; None for nothing.

    Raises:
        ConfigurationError: Noise or a recorder is handed in for a folder that was not created as synthetic.
    """

    settings: Settings
    lake: Lake
    ledger: Ledger
    salts: SaltStore
    clock: Clock
    ledger_id: str
    is_synthetic: bool
    noise: NoiseFactory | None = None
    recorder: CountRecorder | None = None

    def __post_init__(self) -> None:
        if (self.noise or self.recorder) and not self.is_synthetic:
            raise ConfigurationError(
                "noise and recorders of another origin work only in a data folder created as synthetic",
                hint="leave them out; noise that can be repeated protects nobody",
            )

    def __repr__(self) -> str:
        return f"Workspace({str(self.lake.root)!r})"

    def now(self) -> datetime:
        """The time, aware, UTC: never before any time at which a release was made."""
        with self.ledger.read() as connection:
            return self._latest(connection)

    def advance_clock(self, connection: Connection, *, confirmed_today: date | None = None) -> datetime:
        """As `now`, and recorded: later calls in any process never return an earlier time.

        Args:
            connection: The write transaction of the release.
            confirmed_today: The day that a person says it is; needed after a long silence, for a clock that was set
                ahead would stay ahead here.

        Raises:
            ConfigurationError: The clock is far ahead of all that happened here, and nobody confirmed it.
        """
        moment = self._latest(connection)
        self._check_clock(connection, moment, confirmed_today)
        set_meta(connection, HIGH_WATER_KEY, time_text(moment))
        return moment

    def today(self) -> date:
        """The day in TIMEZONE at `now`."""
        return self.now().astimezone(self.settings.zone).date()

    def _check_clock(self, connection: Connection, moment: datetime, confirmed_today: date | None) -> None:
        """Raises ConfigurationError unless a time may be recorded: what is released or dropped cannot be taken back."""
        seen = [text for text in (batches.totals(connection).last_received_at, last_use(connection)) if text]
        today, zone = moment.astimezone(self.settings.zone).date(), self.settings.zone
        last = max((parse_time(text).astimezone(zone).date() for text in seen), default=today)
        if today - last > LONGEST_SILENCE and confirmed_today != today:
            raise ConfigurationError(
                f"the clock says {today}, but nothing has happened in this folder since {last}: nothing was done",
                hint=f"set the clock right; if it is, `dpdau apply-retention --today {today}`, then repeat",
            )

    def _latest(self, connection: Connection) -> datetime:
        current = self.clock()
        if current.tzinfo is None:
            raise InternalError("the clock gave a time without a zone")
        stored = get_meta(connection, HIGH_WATER_KEY)
        current = current.astimezone(UTC)
        return current if stored is None else max(current, parse_time(stored).astimezone(UTC))

    def series_floor(self) -> date | None:
        """The earliest day that a released window may ever hold; None while SERIES_START was never set.

        A public fact: it depends on the first SERIES_START that this folder was opened with, and on nothing else, so
        that how far back erasures are remembered can never show in what is released.
        """
        with self.ledger.read() as connection:
            stored = get_meta(connection, FLOOR_KEY)
        return date.fromisoformat(stored) if stored else None

    def retained_from(self, connection: Connection) -> date:
        """The first day of key-level data that the settings, the calendar and what was dropped before allow (public).

        Never earlier than what retention has dropped, whatever RETENTION_DAYS is now. By the machine's clock, not by
        the latest time seen: a clock that was ahead for a moment must not drop anything once it is right again.

        Args:
            connection: Any transaction.
        """
        dropped = salt_facts.retention_floor(connection)
        days = self.settings.retention_days
        if days is None:
            return dropped
        today = self.clock().astimezone(self.settings.zone).date()
        return max(dropped, date.fromordinal(max(EARLIEST_DAY.toordinal(), today.toordinal() - days)))

    def freeze(self, connection: Connection) -> None:
        """Records, at the first ingest, the settings that the stored pseudonyms depend on; checks them later.

        Args:
            connection: The write transaction that records pseudonyms.

        Raises:
            ConfigurationError: A recorded setting has another value now.
            StorageError: The salts were rotated, or an epoch destroyed, since this folder was opened.
        """
        for key, value in _frozen_facts(self.settings, self.salts).items():
            if get_meta(connection, key) is None:
                set_meta(connection, key, value)
        if salt_facts.fingerprint(connection) is None:
            salt_facts.set_fingerprint(connection, self.salts.fingerprint())
        check_frozen(connection, self.settings, self.salts)
        self.check_salts(connection)
        if salt_facts.destroyed_below(connection) > self.salts.lowest_epoch:
            raise StorageError("old salt epochs were destroyed meanwhile", hint="nothing was recorded; run it again")

    def check_salts(self, connection: Connection) -> None:
        """Raises StorageError unless the salts are those of the ledger: they may have been rotated since the opening.

        Their calendar tells which file counts for a window.
        """
        if salt_facts.fingerprint(connection) not in (None, self.salts.fingerprint()):
            raise StorageError("the salts were rotated meanwhile", hint="nothing was recorded; run it again")

    def close(self) -> None:
        """Closes the ledger's pooled connections."""
        self.ledger.close()


def sketch_plan(settings: Settings) -> SketchPlan:
    """How SKETCH_IMPL, SKETCH_K and EXPECTED_USERS ask for sketches to be made."""
    return SketchPlan.of(settings.sketch_impl, k=settings.sketch_k, expected_users=settings.expected_users)


def last_use(connection: Connection) -> str | None:
    """The latest time that a release, reset, rotation or retention recorded, UTC ISO; None before the first."""
    return get_meta(connection, HIGH_WATER_KEY)


def series_floor_reach(settings: Settings) -> int:
    """By how many days the floor of the series lies before the first SERIES_START."""
    return settings.mau_window_days - 1 + FLOOR_SLACK_DAYS


def _frozen_facts(settings: Settings, salts: SaltStore) -> dict[str, str]:
    return {
        "timezone": settings.timezone,
        "mau_window_days": str(settings.mau_window_days),
        "epoch_anchor": salts.calendar.first_day(0).isoformat(),
        SALTS_KEY: salts.identity(),
    }


def check_frozen(connection: Connection, settings: Settings, salts: SaltStore) -> None:
    for key, value in _frozen_facts(settings, salts).items():
        stored = get_meta(connection, key)
        if stored is None or stored == value:
            continue
        if key == SALTS_KEY:
            raise SaltStoreMismatchError(
                "secrets/salts.json is not the salt store that the stored pseudonyms were made with",
                hint="put the right salts.json back from your copy of DATA_DIR/secrets",
            )
        raise ConfigurationError(
            f"{key.upper()} is {value}, but this data folder was filled with {stored}",
            hint=f"set {key.upper()}={stored}: raw ids are gone and nothing can be keyed again",
        )
