"""Creates a Dagster home once: its `dagster.yaml` and its databases, whoever comes first.

Dagster concept: the instance. What runs in it belongs to `build`. Two processes that open a fresh home at the same
moment can break each other's table creation, therefore everything here happens under a file lock.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

INSTANCE_SETTINGS = """\
# Written once when this home was created; edit it freely, it is never overwritten.
telemetry:
  enabled: false
nux:
  enabled: false
# Dagster's own SQLite storage with connections that stay open; without these lines it works the same, but slower.
instance_class:
  module: dpdau_assets.orchestration.event_log
  class: HomeInstance
# Every job runs in one process; the lake lock orders the runs that write.
concurrency:
  runs:
    max_concurrent_runs: 3
# A run whose process was killed would otherwise count as running for ever.
run_monitoring:
  enabled: true
  start_timeout_seconds: 300
  cancel_timeout_seconds: 180
  max_runtime_seconds: 21600
  poll_interval_seconds: 60
retention:
  schedule:
    purge_after_days: 400
  sensor:
    purge_after_days:
      skipped: 2
      failure: 30
      success: 90
"""


def create_home(home: Path) -> Path:
    """The Dagster home at `home`, created and initialised if it is not yet.

    Guarantee: safe to call from several processes at once, and a second call changes nothing.

    Args:
        home: Folder for DAGSTER_HOME (public).

    Returns:
        `home`, absolute.
    """
    home = home.absolute()
    home.mkdir(parents=True, exist_ok=True, mode=0o700)  # names of sources, and which days changed
    with (home / ".create.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ready = home / ".initialised"
        if not ready.exists():
            _write_settings(home / "dagster.yaml")
            _create_databases(home)
            ready.touch()
    return home


def _write_settings(path: Path) -> None:
    if path.exists():
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(INSTANCE_SETTINGS, encoding="utf-8")
    temporary.replace(path)


def _create_databases(home: Path) -> None:
    """Opens every database of the instance once, so that nobody else has to create a table."""
    from dagster import DagsterInstance

    with DagsterInstance.from_config(str(home)) as instance:
        instance.get_runs_count()
        instance.get_asset_keys()
        instance.all_instigator_state()
        instance.get_daemon_statuses()
