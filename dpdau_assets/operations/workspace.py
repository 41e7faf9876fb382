"""One open data folder: settings, lake, ledger, salts and clock, handed to every operation.

Belongs here: opening and checking the folder, the facts frozen at the first ingest, the clock that never goes back.
This is the composition module of the operations room; nothing else opens the lake or the ledger.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection

from dpdau_assets.core.quantities import EARLIEST_DAY
from dpdau_assets.errors import ConfigurationError, InternalError, StorageError
from dpdau_assets.settings import Settings
from dpdau_assets.storage import batches, epoch_facts, journal_end
from dpdau_assets.storage.files import read_bytes
from dpdau_assets.storage.journal import Journal, anchor_of
from dpdau_assets.storage.journal_lines import Anchor, files_in, last_line
from dpdau_assets.storage.journal_replay import Replay
from dpdau_assets.storage.lake import Lake
from dpdau_assets.storage.ledger import (
    Ledger,
    create_or_open,
    facts,
    get_meta,
    open_existing,
    parse_time,
    set_meta,
    time_text,
)
from dpdau_assets.storage.secrets import SaltStore, secret_from_text

Clock = Callable[[], datetime]
"""Gives an aware time."""

SALTS_KEY = "salts_identity"
FLOOR_KEY = "series_floor"
FLOOR_SLACK_DAYS = 366
"""How much earlier than when it was first set SERIES_START may be moved later."""
HIGH_WATER_KEY = "clock_high_water"
LONGEST_SILENCE = timedelta(days=62)
"""A clock further ahead of the newest batch, release and retention is not believed without a person."""
OPENING_ATTEMPTS = 5
"""How often the salt store is read again because a rotation was completed while it was read."""


def utc_now() -> datetime:
    """The machine's time."""
    return datetime.now(UTC)


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
    """

    settings: Settings
    lake: Lake
    ledger: Ledger
    salts: SaltStore
    clock: Clock
    ledger_id: str
    is_synthetic: bool

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
        """Returns when a time may be recorded: neither a release nor a drop on a wrong day can be taken back."""
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
        dropped = epoch_facts.retention_floor(connection)
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
        if epoch_facts.fingerprint(connection) is None:
            epoch_facts.set_fingerprint(connection, self.salts.fingerprint())
        _check_frozen(connection, self.settings, self.salts)
        self.check_salts(connection)
        if epoch_facts.destroyed_below(connection) > self.salts.lowest_epoch:
            raise StorageError("old salt epochs were destroyed meanwhile", hint="nothing was recorded; run it again")

    def check_salts(self, connection: Connection) -> None:
        """Returns when the salts are those of the ledger, whose calendar tells which file counts for a window.

        Raises:
            StorageError: They were rotated since this folder was opened.
        """
        if epoch_facts.fingerprint(connection) not in (None, self.salts.fingerprint()):
            raise StorageError("the salts were rotated meanwhile", hint="nothing was recorded; run it again")

    def close(self) -> None:
        """Closes the ledger's pooled connections."""
        self.ledger.close()


def last_use(connection: Connection) -> str | None:
    """The latest time that a release, reset, rotation or retention recorded, UTC ISO; None before the first."""
    return get_meta(connection, HIGH_WATER_KEY)


def open_workspace(
    settings: Settings, *, clock: Clock = utc_now, create: bool = True, synthetic: bool = False
) -> Workspace:
    """The data folder of `settings`, checked.

    Args:
        settings: All settings; DATA_DIR names the folder.
        clock: Gives an aware time; tests pass their own.
        create: Whether a missing folder, ledger or salt store is created.
        synthetic: Whether a folder created now is for synthetic data for ever.

    Raises:
        ConfigurationError: A setting disagrees with what is stored, or seeded noise is asked for over real data.
        StorageError: DATA_DIR cannot be written, or holds no ledger and `create` is False.
    """
    lake = Lake(settings.root, memory_limit=settings.duckdb_memory_limit, threads=settings.duckdb_threads)
    if create:
        lake.make_folders()
    journal = Journal(lake.journal_folder, mirror=settings.journal_mirror, end=journal_end_path(lake))
    ledger = _open_ledger(settings, lake, journal, create=create, synthetic=synthetic)
    try:
        with ledger.read() as connection:
            known = facts(connection)
        journal.check(lambda: _anchor(ledger), ledger_id=known.ledger_id)
        _check_ledger_id(lake, known.ledger_id)
        if settings.noise_source == "seeded" and not known.is_synthetic:
            raise ConfigurationError(
                "NOISE_SOURCE=seeded works only in a data folder created as synthetic",
                hint="set NOISE_SOURCE=secure; noise that can be repeated protects nobody",
            )
        salts = _open_salts(settings, lake, ledger)
        journal.keys, journal.redo = salts, Replay(salts, lowest_epoch=salts.lowest_epoch).redo
        _fix_series_floor(ledger, settings)
    except BaseException:
        ledger.close()
        raise
    return Workspace(settings, lake, ledger, salts, clock, known.ledger_id, known.is_synthetic)


def _check_ledger_id(lake: Lake, ledger_id: str | None) -> None:
    """Ties files and ledger together: another ledger over the same files would spend every budget once more.

    Args:
        lake: The files.
        ledger_id: The ledger found, or None when there is none.
    """
    path = lake.ledger_id_path
    is_named = path.exists()
    stored = read_bytes(path).decode("ascii", "replace").strip() if is_named else _ledger_of_journal(lake)
    if not is_named and ledger_id is not None and stored in (None, ledger_id):
        with lake.write_batch() as aside:  # in tmp/, where a later sweep finds it
            aside.write_bytes(path, f"{ledger_id}\n".encode("ascii"))
            aside.publish()
    elif stored != ledger_id:
        found = "it is missing" if ledger_id is None else "another one was found"
        raise ConfigurationError(
            f"{lake.root} belongs to ledger {stored}, but {found}: a new one would release days again and spend twice",
            hint="run `dpdau restore`, correct DATABASE_URL, or start over in an empty DATA_DIR",
        )


def _ledger_of_journal(lake: Lake) -> str | None:
    """The ledger that the journal was kept for; None when nothing but a creation, which may have failed, is in it."""
    tails = (last_line(path) for path in reversed(files_in(lake.journal_folder)))
    tail = next((line for line in tails if line is not None), None)
    return tail.ledger if tail is not None and tail.seq > 1 else None


def _fix_series_floor(ledger: Ledger, settings: Settings) -> None:
    """Records how far back releases may ever reach, when SERIES_START is seen for the first time."""
    if settings.series_start is None:
        return
    with ledger.read() as connection:
        if get_meta(connection, FLOOR_KEY) is not None:
            return
    earliest = settings.series_start.toordinal() - series_floor_reach(settings)
    floor = date.fromordinal(max(EARLIEST_DAY.toordinal(), earliest))
    with ledger.write() as connection:
        if get_meta(connection, FLOOR_KEY) is None:
            set_meta(connection, FLOOR_KEY, floor.isoformat())


def series_floor_reach(settings: Settings) -> int:
    """By how many days the floor of the series lies before the first SERIES_START."""
    return settings.mau_window_days - 1 + FLOOR_SLACK_DAYS


def _anchor(ledger: Ledger) -> Anchor:
    with ledger.read() as connection:
        return anchor_of(connection)


def journal_end_path(lake: Lake) -> Path:
    """Where the journal's last line is noted outside of it."""
    return lake.ledger_id_path.with_name(journal_end.NAME)


def ledger_url(settings: Settings, lake: Lake) -> str:
    """Where the ledger is: DATABASE_URL, or SQLite below DATA_DIR; sensitive, it may hold a password."""
    given = settings.database_url
    return given.get_secret_value() if given else f"sqlite:///{lake.ledger_path}"


def _open_ledger(settings: Settings, lake: Lake, journal: Journal, *, create: bool, synthetic: bool) -> Ledger:
    url = ledger_url(settings, lake)
    ledger = open_existing(url, journal=journal)
    if ledger is not None:
        if synthetic:
            ledger.close()
            return create_or_open(url, synthetic=True, journal=journal)
        return ledger
    _check_ledger_id(lake, None)
    if not create:
        raise StorageError(
            f"{lake.root} holds no data yet: there is no ledger",
            hint="run `dpdau init` or `dpdau ingest` first, or set DATA_DIR to the right folder",
        )
    return create_or_open(url, synthetic=synthetic, journal=journal)


def _open_salts(settings: Settings, lake: Lake, ledger: Ledger) -> SaltStore:
    """The salt store that the ledger knows; one that is no longer the newest is refused."""
    given = settings.hash_salt_secret
    create_secret = secret_from_text(given.get_secret_value()) if given else None
    for _ in range(OPENING_ATTEMPTS):
        with ledger.read() as connection:
            is_frozen = get_meta(connection, SALTS_KEY) is not None
            recorded, lowest = epoch_facts.fingerprint(connection), epoch_facts.destroyed_below(connection)
        salts = SaltStore.open(
            lake.secrets_path,
            create_secret=create_secret,
            rotation_days=settings.hash_salt_rotation_days,
            may_create=not is_frozen,
            recorded=recorded,
            lowest_epoch=lowest,
        )
        with ledger.read() as connection:
            if is_frozen:
                _check_frozen(connection, settings, salts)
            now_recorded = epoch_facts.fingerprint(connection)
        if now_recorded in (None, salts.fingerprint()):
            return salts
        if now_recorded == recorded:
            break
    raise ConfigurationError(
        f"secrets/salts.json has fingerprint {salts.fingerprint()}, but the last rotation made {now_recorded}",
        hint="put the newest salts.json back from your copy of DATA_DIR/secrets, or `dpdau salts import FILE`",
    )


def _frozen_facts(settings: Settings, salts: SaltStore) -> dict[str, str]:
    return {
        "timezone": settings.timezone,
        "mau_window_days": str(settings.mau_window_days),
        "epoch_anchor": salts.calendar.first_day(0).isoformat(),
        SALTS_KEY: salts.identity(),
    }


def _check_frozen(connection: Connection, settings: Settings, salts: SaltStore) -> None:
    for key, value in _frozen_facts(settings, salts).items():
        stored = get_meta(connection, key)
        if stored is None or stored == value:
            continue
        if key == SALTS_KEY:
            raise ConfigurationError(
                "secrets/salts.json is not the salt store that the stored pseudonyms were made with",
                hint="put the right salts.json back from your copy of DATA_DIR/secrets",
            )
        raise ConfigurationError(
            f"{key.upper()} is {value}, but this data folder was filled with {stored}",
            hint=f"set {key.upper()}={stored}: raw ids are gone and nothing can be keyed again",
        )
