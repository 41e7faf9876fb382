"""Where each flat file will stand; empty once every file has moved."""

from __future__ import annotations

PLANNED: dict[str, str] = {}
