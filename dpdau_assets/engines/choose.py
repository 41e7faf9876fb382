"""Chooses the stage engine that reads the sources; only this module knows the engines by name.

Belongs here: the name that COMPUTE_ENGINE gives an engine, and its import. Does not belong here: the guarantees of an
engine (`protocol`), how one works (`duckdb`). An engine is imported when it is chosen, so that commands that read no
source do not spend time on it. The laws that every engine must pass are in `dpdau_tests/laws/test_stage_engine.py`.
"""

from __future__ import annotations

from dpdau_assets.engines.protocol import StageEngine
from dpdau_assets.errors import ConfigurationError


def stage_engine(name: str, *, memory_limit: str, threads: int | None) -> StageEngine:
    """The stage engine of that name.

    Args:
        name: COMPUTE_ENGINE (public).
        memory_limit: Limit of the engine's memory, such as `1GB` (public).
        threads: Threads of the engine; None lets it decide (public).

    Raises:
        ConfigurationError: This version has no engine of that name.
    """
    if name == "duckdb":
        from dpdau_assets.engines.duckdb.engine import DuckdbEngine

        return DuckdbEngine(memory_limit, threads)
    raise ConfigurationError(f"COMPUTE_ENGINE={name} is not part of this version", hint="use COMPUTE_ENGINE=duckdb")
