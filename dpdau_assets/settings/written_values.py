"""Checks how the values of settings, and days in commands, are written; each function returns the value it accepts.

Belongs here: checks of one value alone, whose `ValueError` has a text that follows the setting's name. Which values go
together is in `combinations`; names, defaults and ranges are in `settings`.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import SecretStr

from dpdau_assets.errors import ConfigurationError

FIRST_YEAR, LAST_YEAR = 1970, 9000
"""Years allowed in a series and in a day of a command: pseudonyms exist from 1970 on, and a day that lies a window or
a month later must still be a date."""

OWNER = r"\b[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,7}\b"
"""The form of an asset owner's address that Dagster accepts; with any other, it loads no asset."""


def renyi_orders(value: Any) -> tuple[float, ...]:
    """Orders of Renyi accounting, comma-separated or a sequence."""
    parts = value.split(",") if isinstance(value, str) else value
    orders = tuple(float(part) for part in parts)
    if not orders or not all(order > 1 and math.isfinite(order) for order in orders):
        raise ValueError("needs comma-separated finite numbers above 1")
    return orders


def time_zone(value: str) -> str:
    """A name of the IANA list."""
    try:
        ZoneInfo(value)
    except (
        ZoneInfoNotFoundError,
        ValueError,
        OSError,
    ) as error:  # OSError: the name is that of a folder of the zone database
        raise ValueError(f"{value!r} is not a time zone of the IANA list") from error
    return value


def written_day(value: Any) -> Any:
    """Checks a day given as text; any value that is not text passes."""
    if isinstance(value, str) and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
        raise ValueError("needs a day written as YYYY-MM-DD")
    return value


def day_of_series(value: date) -> date:
    """Checks that the windows and the month of a day lie within the calendar."""
    if not FIRST_YEAR <= value.year <= LAST_YEAR:
        raise ValueError(f"needs a day of the years {FIRST_YEAR} to {LAST_YEAR}")
    return value


def memory_size(value: str) -> str:
    """A size with its unit."""
    if not re.fullmatch(r"\d+(\.\d+)? ?([KMGT]i?B)", value, re.IGNORECASE):
        raise ValueError("needs a size such as 1GB or 512MB")
    return value


def owner_address(value: str) -> str:
    """Checks an e-mail address that Dagster accepts as an owner; an empty one passes."""
    if value and not re.fullmatch(OWNER, value):
        raise ValueError("needs one plain address such as ops@example.org, with a last part of 2 to 7 letters")
    return value


def header_key(value: SecretStr) -> SecretStr:
    """A key that fits into one header; the message does not repeat it."""
    if not re.fullmatch(r"[!-~]+", value.get_secret_value()):
        raise ValueError("needs visible ASCII characters without spaces")
    return value


def secret_from_text(text: str, *, name: str = "HASH_SALT_SECRET") -> bytes:
    """A secret as bytes: the UTF-8 of any text, or the decoded rest of `b64:...`; messages call it `name`.

    Raises:
        ConfigurationError: The secret is empty, or not base64 after `b64:`.
    """
    try:
        secret = base64.b64decode(text[4:], validate=True) if text.startswith("b64:") else text.encode("utf-8")
    except (binascii.Error, ValueError):
        raise ConfigurationError(
            f"{name} is not valid base64 after b64:", hint="for example b64:$(openssl rand -base64 32)"
        ) from None
    if not secret:
        raise ConfigurationError(f"{name} is empty", hint="remove it, or give it a value")
    return secret
