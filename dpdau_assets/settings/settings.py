"""One frozen settings object, and the only code that reads the environment or `.env`.

A name belongs here when a person may set it. Names that only a later component reads are
accepted and listed as `reserved`, so that a shared `.env` stays valid; they change nothing yet.
"""

from __future__ import annotations

import difflib
import os
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from zoneinfo import ZoneInfo

from dotenv.parser import parse_stream
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

import dpdau_assets
from dpdau_assets.errors import ConfigurationError, InputError, UnknownSettingError
from dpdau_assets.settings.accounting_options import AccountingOptions
from dpdau_assets.settings.addresses import SmtpUrl, WebhookUrl
from dpdau_assets.settings.combinations import refuse_equal_keys, refuse_unsound_sketch
from dpdau_assets.settings.written_values import (
    day_of_series,
    header_key,
    memory_size,
    owner_address,
    renyi_orders,
    time_zone,
    written_day,
)

PRIVATE_PREFIXES = ("DAGSTER_", "OTEL_")
"""Names of other programs that may share our `.env`."""

WORKSPACE_FILE = "workspace.yaml"
"""The file of Dagster that marks a project folder."""

WORKSPACE = "load_from:\n  - python_module:\n      module_name: dpdau_assets.definitions\n      attribute: defs\n"

SMALL_SKETCH_K = 2048
"""Below this a sketch is too coarse for production traffic."""

Day = Annotated[date, BeforeValidator(written_day), AfterValidator(day_of_series)]
Key = Annotated[SecretStr, AfterValidator(header_key)]
Epsilon = Annotated[float, Field(ge=1e-4, le=100)]
Delta = Annotated[float, Field(ge=1e-20, lt=0.1)]
"""Smallest DELTA: below 1e-20 the tails that the exact sums leave out would matter."""


class Settings(BaseModel):
    """Every setting with its default; see `dpdau settings` for the list with current values.

    Relative paths are relative to `project_root`. Privacy parameters are public; the two secrets are
    `SecretStr` and print as stars.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    LOOK_BACK_DAYS: ClassVar[int] = 31
    """How many closed days back automation looks for releases that are due; this is not a setting."""

    # Where and when
    data_dir: Path = Path("data")
    timezone: Annotated[str, AfterValidator(time_zone)] = "UTC"
    series_start: Day | None = None
    series_end: Day | None = None
    dagster_history_days: Annotated[int, Field(ge=1, le=40_000)] = 1100
    mau_window_days: Annotated[int, Field(ge=8, le=63)] = 30
    day_close_delay_hours: Annotated[int, Field(ge=0, le=168)] = 6
    # Privacy
    epsilon_dau: Epsilon = 0.3
    epsilon_wau: Epsilon = 0.4
    epsilon_mau: Epsilon = 0.5
    delta: Delta = 1e-6
    advanced_delta: Delta = 1e-7
    dau_budget_total: Epsilon = 3.0
    wau_budget_total: Epsilon = 3.0
    mau_budget_total: Epsilon = 3.5
    joint_budget_total: Epsilon = 5.9
    total_budget_month: Epsilon = 6.0
    total_budget_365d: Epsilon = 29.0
    rdp_orders: Annotated[tuple[float, ...], BeforeValidator(renyi_orders)] = (2.0, 4.0, 8.0, 16.0, 32.0)
    mechanism: Literal["gaussian", "laplace", "correlated", "joint", "tree", "matrix"] = "correlated"
    revision_reserve: Annotated[int, Field(ge=0, le=31)] = 2
    noise_source: Literal["secure", "seeded"] = "secure"
    default_seed: Annotated[int, Field(ge=0, lt=2**63)] = 20251009
    # Sketches
    sketch_impl: Literal["kmv", "set", "theta", "hll"] = "kmv"
    sketch_k: Annotated[int, Field(ge=16, le=2**24)] = 65536
    expected_users: Annotated[int, Field(ge=1, le=10**10)] | None = None
    use_bloom_for_diff: bool = False
    bloom_fp_rate: Annotated[float, Field(gt=0, lt=1)] = 0.01
    # Pseudonyms, sources, storage
    hash_salt_secret: SecretStr | None = None
    hash_salt_rotation_days: Annotated[int, Field(ge=1, le=36_500)] = 90
    retention_days: Annotated[int, Field(ge=1)] | None = None
    keep_sources: bool = False
    quarantine_max_rate: Annotated[float, Field(ge=0, le=1)] = 0.01
    database_url: SecretStr | None = None
    service_database_url: SecretStr | None = None  # an alias
    duckdb_memory_limit: Annotated[str, AfterValidator(memory_size)] = "1GB"
    duckdb_threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    admin_email: Annotated[str, AfterValidator(owner_address)] = ""
    smtp_url: SmtpUrl | None = None
    alert_webhook_url: WebhookUrl | None = None
    erasure_max_age_hours: Annotated[int, Field(ge=1)] = 24
    backup_retention_days: Annotated[int, Field(ge=1)] = 30
    journal_mirror_dir: Path | None = None
    # The service
    release_on_query: bool | None = None
    service_api_key: Key | None = None
    ingest_api_key: Key | None = None
    read_api_key: Key | None = None
    metrics_api_key: Key | None = None
    # Experiments, and the tests of this package
    w_bound: Annotated[int, Field(ge=1)] = 2
    experiment_id: str = "dev"
    coverage_threshold: Annotated[int, Field(ge=0, le=100)] = 85
    # Reserved: read by components that are not part of this version
    horizon_days: Annotated[int, Field(ge=1)] = 365
    service_host: str = "http://127.0.0.1:8000"
    max_request_bytes: Annotated[int, Field(ge=1)] | None = None
    kafka_bootstrap_servers: str = ""
    kafka_topic: str = ""
    # What reads the sources
    compute_engine: Literal["duckdb", "spark"] = "duckdb"

    @cached_property
    def zone(self) -> ZoneInfo:
        """TIMEZONE as an object."""
        return ZoneInfo(self.timezone)

    @cached_property
    def root(self) -> Path:
        """DATA_DIR, absolute."""
        return self.data_dir if self.data_dir.is_absolute() else project_root() / self.data_dir

    @cached_property
    def journal_mirror(self) -> Path | None:
        """JOURNAL_MIRROR_DIR, absolute; None when it is not set."""
        given = self.journal_mirror_dir
        return None if given is None else project_root() / given

    @property
    def accounting(self) -> AccountingOptions:
        """What every accountant takes besides a delta."""
        return {"advanced_delta": self.advanced_delta, "rdp_orders": self.rdp_orders}

    def epsilon_of(self, metric: str) -> float:
        """Epsilon of one release of `metric` (`dau`, `wau` or `mau`)."""
        return float(getattr(self, f"epsilon_{metric}"))

    def cap_of(self, metric: str) -> float:
        """Monthly epsilon cap of `metric`, or of `joint`: all three together."""
        return float(getattr(self, f"{metric}_budget_total"))


RESERVED = frozenset(
    {
        "horizon_days",
        "service_host",
        "max_request_bytes",
        "kafka_bootstrap_servers",
        "kafka_topic",
    }
)
"""Settings accepted for a component that this version does not have."""

NOT_YET = {
    "mechanism": (
        ("tree", "matrix"),
        "its bound needs limits on late events and erasures that releases do not enforce: evaluation only, see "
        "docs/tree-aggregation.md; use MECHANISM=gaussian, laplace, correlated or joint",
    ),
    "compute_engine": (("spark",), "use COMPUTE_ENGINE=duckdb"),
}
"""Values that this version does not support, with their replacement; they are refused at start, not approximated."""


def project_root() -> Path:
    """The folder that relative paths start from: the nearest parent of the working directory with a
    `workspace.yaml`, else the folder this package is installed from if it has one, else the working directory."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / WORKSPACE_FILE).is_file():
            return folder
    checkout = Path(dpdau_assets.__file__).resolve().parent.parent
    return checkout if (checkout / WORKSPACE_FILE).is_file() else here


def load_settings(**overrides: Any) -> Settings:
    """Settings from the environment over `.env` over the defaults; `overrides` win (tests, the demo).

    Raises:
        UnknownSettingError: `.env` holds a name that is not a setting.
        InputError: A value is malformed.
        ConfigurationError: A value is known but not supported by this version.
    """
    dotenv = _read_dotenv(project_root() / ".env")
    from_environment = {
        name: os.environ[name.upper()] for name in Settings.model_fields if os.environ.get(name.upper())
    }
    return _checked({**dotenv, **from_environment, **overrides})


def project_settings(folder: Path) -> Settings:
    """Returns the settings of another project folder: its `.env` over the defaults; the environment is ignored.

    Raises:
        UnknownSettingError, InputError, ConfigurationError: As `load_settings`.
    """
    values = _read_dotenv(folder / ".env")
    data_dir = folder.absolute() / values.get("data_dir", "data")
    return _checked({**values, "data_dir": data_dir.resolve()})


def create_project(folder: Path, **values: str) -> None:
    """Makes `folder` a separate project, with `workspace.yaml` and `.env`, unless it is one already.

    The command line and Dagster then use only these settings when they run inside it.

    Args:
        folder: The folder, created when missing (public).
        values: Settings by their names in capitals.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = {WORKSPACE_FILE: WORKSPACE, ".env": "".join(f"{name}={value}\n" for name, value in values.items())}
    for name, text in texts.items():
        if not (folder / name).exists():
            temporary = folder / f"{name}.part"
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(folder / name)


def _checked(values: dict[str, Any]) -> Settings:
    if not values.get("database_url"):
        values = {**values, "database_url": values.get("service_database_url")}  # an alias
    try:
        settings = Settings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).upper()
        reason = first["msg"].removeprefix("Value error, ")
        shown = "" if any(word in name for word in ("SECRET", "URL", "KEY")) else f" (got {str(first['input'])[:60]!a})"
        raise InputError(
            f"setting {name}: {reason}{shown}", hint=f"correct {name} in .env or in the environment"
        ) from error
    _refuse_odd_folders(settings)
    _refuse_unsupported(settings)
    return settings


def describe_settings() -> list[dict[str, str]]:
    """Every setting as `name`, `value`, `default`, `source`, `used` (`no`: reserved); secrets print as stars.

    Raises:
        InputError, UnknownSettingError, ConfigurationError: As `load_settings`.
    """
    settings = load_settings()
    dotenv = _read_dotenv(project_root() / ".env")
    rows = []
    for name, field in Settings.model_fields.items():
        in_environment = bool(os.environ.get(name.upper()))
        rows.append(
            {
                "name": name.upper(),
                "value": shown(getattr(settings, name)),
                "default": shown(field.default),
                "source": "environment" if in_environment else ".env" if name in dotenv else "default",
                "used": "no" if name in RESERVED else "yes",
            }
        )
    return rows


def shown(value: Any) -> str:
    """How a setting prints: empty for none, lists with commas, secrets as stars."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(f"{part:g}" for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def notices(settings: Settings) -> tuple[str, ...]:
    """One line for each combination of settings that is allowed but probably not meant."""
    lines = []
    if settings.sketch_impl in ("kmv", "hll") and settings.sketch_k < SMALL_SKETCH_K:
        lines.append(f"SKETCH_K={settings.sketch_k} is below {SMALL_SKETCH_K}: estimates err by several percent")
    if settings.sketch_impl == "theta" and settings.expected_users is None:
        lines.append("SKETCH_IMPL=theta without EXPECTED_USERS keeps every user: state a public size to keep a sample")
    usual = {name: field.default for name, field in Settings.model_fields.items() if name.startswith("epsilon_")}
    if settings.mechanism in ("correlated", "joint") and any(getattr(settings, name) != usual[name] for name in usual):
        lines.append(
            f"EPSILON_* apply to gaussian and laplace noise; MECHANISM={settings.mechanism} fills *_BUDGET_TOTAL"
        )
    if settings.mechanism == "laplace":
        lines.append("MECHANISM=laplace: at the default budgets about 10 DAU, 7 WAU and 7 MAU releases fit a month")
    if settings.smtp_url and not settings.admin_email:
        lines.append("SMTP_URL without ADMIN_EMAIL sends no alerts by e-mail: set ADMIN_EMAIL to who reads them")
    if settings.expected_users and settings.delta > 1 / (10 * settings.expected_users):
        lines.append(f"DELTA={settings.delta:g} is more than 1/(10 EXPECTED_USERS)")
    return tuple(lines)


def dagster_home(settings: Settings) -> Path:
    """Dagster's home: DAGSTER_HOME when it is set, else the folder `dagster` in DATA_DIR."""
    return Path(os.environ.get("DAGSTER_HOME") or settings.root / "dagster").absolute()


def child_environment(*, keep_settings: bool = False, **overrides: str) -> dict[str, str]:
    """Returns the environment for a child process: ours plus `overrides`; our settings only with `keep_settings`."""
    kept = {
        name: value for name, value in os.environ.items() if keep_settings or name.lower() not in Settings.model_fields
    }
    return {**kept, **overrides}


def _read_dotenv(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    try:
        with path.open(encoding="utf-8") as stream:
            bindings = list(parse_stream(stream))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path.name} cannot be read as UTF-8 text", hint="write it again as NAME=value lines"
        ) from error
    values: dict[str, str] = {}
    for binding in bindings:
        name = binding.key
        if binding.error or (name is not None and binding.value is None):
            raise InputError(
                f"line {binding.original.line} of {path.name} is not NAME=value", hint="correct or remove that line"
            )
        if name is None or _is_of_another_program(name):
            continue
        if name.lower() not in Settings.model_fields or name != name.upper():
            known = [field.upper() for field in Settings.model_fields]
            close = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.0)
            raise UnknownSettingError(
                f"unknown name {name} in {path.name}", hint=f"did you mean {close[0]}? `dpdau settings` lists all names"
            )
        if binding.value:
            values[name.lower()] = binding.value
    return values


def _is_of_another_program(name: str) -> bool:
    """Returns whether a name in `.env` is neither one of our settings nor a misspelling of one."""
    ours = [field.upper() for field in Settings.model_fields]
    is_misspelt = bool(difflib.get_close_matches(name, ours, n=1, cutoff=0.85))
    return name.startswith(PRIVATE_PREFIXES) and name not in ours and not is_misspelt


def _refuse_odd_folders(settings: Settings) -> None:
    """Refuses paths that are not text: they cannot be written into the catalogue or a document."""
    for name, folder in (("DATA_DIR", settings.root), ("JOURNAL_MIRROR_DIR", settings.journal_mirror)):
        try:
            str(folder or "").encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"setting {name}: its path is not valid UTF-8 (got {str(folder)[:60]!a})",
                hint=f"name another folder in {name}",
            ) from error


def _refuse_unsupported(settings: Settings) -> None:
    for name, (values, instead) in NOT_YET.items():
        if getattr(settings, name) in values:
            raise ConfigurationError(
                f"{name.upper()}={getattr(settings, name)} is not supported by this version", hint=instead
            )
    refuse_unsound_sketch(settings.mechanism, settings.sketch_impl, sketch_k=settings.sketch_k)
    refuse_equal_keys(
        {
            "SERVICE_API_KEY": settings.service_api_key,
            "INGEST_API_KEY": settings.ingest_api_key,
            "READ_API_KEY": settings.read_api_key,
            "METRICS_API_KEY": settings.metrics_api_key,
        }
    )
    if settings.advanced_delta >= settings.delta:
        raise ConfigurationError("ADVANCED_DELTA must be smaller than DELTA", hint="the default is a tenth of DELTA")
    kept, least = settings.retention_days, settings.mau_window_days + settings.LOOK_BACK_DAYS
    if kept is not None and kept < least:
        back = settings.LOOK_BACK_DAYS
        reason = f"the windows of the last {back} days could not be counted when their releases are due"
        hint = f"set RETENTION_DAYS={least} (MAU_WINDOW_DAYS + {back}) or more, or leave it empty"
        raise ConfigurationError(f"RETENTION_DAYS={kept} is less than {least}: {reason}", hint=hint)
    if settings.series_start and settings.series_end and settings.series_end < settings.series_start:
        raise ConfigurationError("SERIES_END lies before SERIES_START", hint="correct one of them in .env")
