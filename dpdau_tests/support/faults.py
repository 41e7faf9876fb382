"""A disk that fills up, or that can only be read, from a chosen system call on; it holds until the block ends."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

GROWING = ("write", "replace", "link", "mkdir", "fsync")
"""System calls that need space; removing a file never does."""
CHANGING = (*GROWING, "unlink", "rmdir", "rename")
"""System calls that change something."""
FAULTS = {errno.ENOSPC: GROWING, errno.EDQUOT: GROWING, errno.EROFS: CHANGING, errno.EIO: ("fsync", "write")}
"""Which calls fail with which error."""


@dataclass
class Disk:
    """Counts the calls that concern one folder.

    Attributes:
        calls: How many there were.
        failed: How many of them failed.
    """

    calls: int = 0
    failed: int = 0


@contextmanager
def failing(folder: Path, number: int, *, after: int | None) -> Iterator[Disk]:
    """A disk that fails with an error number after so many calls below `folder`, and in all that follow.

    Args:
        folder: Only calls on names and files below it count and fail.
        number: One of `FAULTS`.
        after: How many calls still succeed; None counts only.
    """
    disk, place = Disk(), str(folder)

    def is_inside(target: Any) -> bool:
        try:
            path = Path(f"/proc/self/fd/{target}").readlink() if isinstance(target, int) else Path.cwd() / target
        except OSError:
            return False
        return str(path).startswith(place)

    def wrapped(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(target: Any, *arguments: Any, **named: Any) -> Any:
            if is_inside(target):
                disk.calls += 1
                if after is not None and disk.calls > after:
                    disk.failed += 1
                    raise OSError(number, os.strerror(number))
            return original(target, *arguments, **named)

        return call

    with patch.multiple(os, **{name: wrapped(getattr(os, name)) for name in FAULTS[number]}):
        yield disk
