"""Where results of experiments go: DATA_DIR/experiments/EXPERIMENT_ID.

Belongs here: that one path. What is written there belongs to each experiment.
"""

from __future__ import annotations

import re
from pathlib import Path

from dpdau_assets.errors import InputError
from dpdau_assets.settings.settings import Settings


def experiment_folder(settings: Settings) -> Path:
    """The folder of the present experiment; not made here.

    Args:
        settings: With EXPERIMENT_ID.

    Raises:
        InputError: EXPERIMENT_ID is no plain name.
    """
    name = settings.experiment_id
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise InputError(
            f"setting EXPERIMENT_ID: {name[:60]!r} is not a plain name", hint="use letters, digits, dots and dashes"
        )
    return settings.root / "experiments" / name
