"""Who may ask: the keys, what each opens, and what loopback means.

Belongs here: comparing keys in constant time, and telling a request of this machine from one that a proxy or a
browser's page passed on. Does not belong here: what a request may then do (`routes`).
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum

from fastapi import Security
from fastapi.security import APIKeyHeader
from pydantic import SecretStr
from starlette.exceptions import HTTPException
from starlette.requests import Request

from dpdau_assets.settings.settings import Settings

HEADER = "X-API-Key"
FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
"""Headers of a proxy: what it passes on comes from elsewhere."""

key_header = APIKeyHeader(name=HEADER, scheme_name="key", auto_error=False)


class Scope(Enum):
    """What a key can open."""

    READ = "read"
    METRICS = "metrics"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        may_release: Whether a question may make a release, as far as the key and RELEASE_ON_QUERY go.
    """

    may_release: bool


class Keys:
    """The keys of the settings, kept as digests.

    Args:
        settings: SERVICE_API_KEY, READ_API_KEY, METRICS_API_KEY, INGEST_API_KEY, RELEASE_ON_QUERY.
    """

    def __init__(self, settings: Settings) -> None:
        self._service = _digest_of(settings.service_api_key)
        self._opens = {
            Scope.READ: (self._service, _digest_of(settings.read_api_key)),
            Scope.METRICS: (self._service, _digest_of(settings.metrics_api_key)),
        }
        self._release_on_query = settings.release_on_query
        self.is_any_set = has_a_key(settings)

    def judge(self, request: Request, scope: Scope) -> Caller:
        """Who asks for something of `scope`.

        Raises:
            HTTPException: 401, the key is missing or opens something else.
        """
        is_local = is_of_this_machine(request)
        given = _given(request)
        matches = [is_equal(given, key) for key in self._opens[scope]]  # every key is compared, whatever matches
        is_open = is_local and (not self.is_any_set or scope is Scope.METRICS)
        if not (any(matches) or is_open):
            raise HTTPException(401)
        is_trusted = matches[0] or (is_local and not self.is_any_set and not is_of_a_page(request))
        is_on = is_local if self._release_on_query is None else self._release_on_query
        return Caller(may_release=is_trusted and is_on)


def needs(scope: Scope) -> Callable[..., Awaitable[Caller]]:
    """A dependency of a route: who asks, or 401."""

    async def judged(request: Request, _key: str | None = Security(key_header)) -> Caller:
        keys: Keys = request.app.state.keys
        return keys.judge(request, scope)

    return judged


def has_a_key(settings: Settings) -> bool:
    """Whether any key is set, so that nobody is let in without one."""
    keys = (settings.service_api_key, settings.ingest_api_key, settings.read_api_key, settings.metrics_api_key)
    return any(key is not None for key in keys)


def is_loopback(host: str) -> bool:
    """Whether an address, or the name `localhost`, leads to this machine alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_of_this_machine(request: Request) -> bool:
    """Whether a request comes from this machine and was not passed on by a proxy or through a foreign name.

    A page in a browser can make its own name lead to 127.0.0.1: the header Host then gives it away.
    """
    host = request.client.host if request.client else ""
    named = request.headers.get("host", "").rpartition(":")
    name = named[0] if named[0] and not named[2].endswith("]") else request.headers.get("host", "")
    is_direct = not any(header in request.headers for header in FORWARDED)
    return is_direct and is_loopback(host) and is_loopback(name)


def is_of_a_page(request: Request) -> bool:
    """Whether a page of another site made the browser ask: it may not choose when budget is spent."""
    return request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin") or "origin" in request.headers


def is_equal(given: bytes | None, key: bytes | None) -> bool:
    """Whether two digests are equal, in a time that does not depend on where they differ."""
    return hmac.compare_digest(given or b"", key or b"-") and key is not None


def _given(request: Request) -> bytes | None:
    values = request.headers.getlist(HEADER)
    return _digest(values[0].encode("latin-1")) if len(values) == 1 else None


def _digest_of(key: SecretStr | None) -> bytes | None:
    return None if key is None else _digest(key.get_secret_value().encode())


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
