"""Opens a data folder: lake, journal, ledger and salts, each checked against the others.

Belongs here: the order of opening and what is refused at it. What an open folder offers belongs to `workspace`.
"""

from __future__ import annotations

from datetime import date

from dpdau_assets.core.quantities import EARLIEST_DAY
from dpdau_assets.errors import ConfigurationError, LedgerMismatchError, SaltStoreMismatchError, StorageError
from dpdau_assets.operations.session.workspace import (
    FLOOR_KEY,
    SALTS_KEY,
    Clock,
    CountRecorder,
    NoiseFactory,
    Workspace,
    check_frozen,
    series_floor_reach,
    utc_now,
)
from dpdau_assets.settings.settings import Settings
from dpdau_assets.settings.written_values import secret_from_text
from dpdau_assets.storage.disk.durable import read_bytes
from dpdau_assets.storage.journal.journal import Journal, anchor_of
from dpdau_assets.storage.journal.lines import Anchor, files_in, last_line
from dpdau_assets.storage.journal.replay import Replay
from dpdau_assets.storage.keys.salt_store import SaltStore
from dpdau_assets.storage.lake.lake import Lake
from dpdau_assets.storage.ledger import salt_facts
from dpdau_assets.storage.ledger.ledger import Ledger, create_or_open, get_meta, is_synthetic, open_existing, set_meta

OPENING_ATTEMPTS = 5
"""How often the salt store is read again because a rotation was completed while it was read."""


def open_workspace(
    settings: Settings,
    *,
    clock: Clock = utc_now,
    create: bool = True,
    synthetic: bool = False,
    noise: NoiseFactory | None = None,
    recorder: CountRecorder | None = None,
) -> Workspace:
    """The data folder of `settings`, checked.

    Args:
        settings: All settings; DATA_DIR names the folder.
        clock: Gives an aware time; tests pass their own.
        create: Whether a missing folder, ledger or salt store is created.
        synthetic: Whether a folder created now is for synthetic data for ever.
        noise: Makes the noise of releases in place of the source that the settings say; synthetic folders only.
        recorder: Sees the counts that releases are made from; synthetic folders only.

    Raises:
        ConfigurationError: A setting disagrees with what is stored, or seeded noise, other noise or a recorder is asked
            for over real data.
        StorageError: DATA_DIR cannot be written, or holds no ledger and `create` is False.
    """
    lake = Lake(settings.root, memory_limit=settings.duckdb_memory_limit, threads=settings.duckdb_threads)
    if create:
        lake.make_folders()
    journal = Journal(lake.journal_folder, mirror=settings.journal_mirror, end=lake.journal_end_path)
    ledger = _open_ledger(settings, lake, journal, create=create, synthetic=synthetic)
    try:
        with ledger.read() as connection:
            is_for_synthetic_data = is_synthetic(connection)
        ledger_id = ledger.ledger_id
        journal.check(lambda: _anchor(ledger), ledger_id=ledger_id)
        _check_ledger_id(lake, ledger_id)
        if settings.noise_source == "seeded" and not is_for_synthetic_data:
            raise ConfigurationError(
                "NOISE_SOURCE=seeded works only in a data folder created as synthetic",
                hint="set NOISE_SOURCE=secure; noise that can be repeated protects nobody",
            )
        salts = _open_salts(settings, lake, ledger)
        journal.keys, journal.redo = salts, Replay(salts, lowest_epoch=salts.lowest_epoch).redo
        _fix_series_floor(ledger, settings)
        return Workspace(
            settings, lake, ledger, salts, clock, ledger_id, is_for_synthetic_data, noise=noise, recorder=recorder
        )
    except BaseException:
        ledger.close()
        raise


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
        with lake.write_batch() as files:  # in tmp/, where a later sweep finds it
            files.write_bytes(path, f"{ledger_id}\n".encode("ascii"))
            files.publish()
    elif stored != ledger_id:
        found = "it is missing" if ledger_id is None else "another one was found"
        raise LedgerMismatchError(
            f"{lake.root} belongs to ledger {stored}, but {found}: a new one would release days again and spend twice",
            hint="run `dpdau restore`, correct DATABASE_URL, or start over in an empty DATA_DIR",
            expected=stored,
            found=ledger_id,
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


def _anchor(ledger: Ledger) -> Anchor:
    with ledger.read() as connection:
        return anchor_of(connection)


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
            recorded, lowest = salt_facts.fingerprint(connection), salt_facts.destroyed_below(connection)
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
                check_frozen(connection, settings, salts)
            now_recorded = salt_facts.fingerprint(connection)
        if now_recorded in (None, salts.fingerprint()):
            return salts
        if now_recorded == recorded:
            break
    raise SaltStoreMismatchError(
        f"secrets/salts.json has fingerprint {salts.fingerprint()}, but the last rotation made {now_recorded}",
        hint="put the newest salts.json back from your copy of DATA_DIR/secrets, or `dpdau salts import FILE`",
    )
