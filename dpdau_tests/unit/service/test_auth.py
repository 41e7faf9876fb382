"""Which keys open what, and which requests are of this machine."""

from __future__ import annotations

import hmac

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request

from dpdau_assets.service.auth import Keys, Scope, is_loopback, is_of_this_machine
from dpdau_assets.settings.settings import Settings


def request(*, peer: str = "127.0.0.1", host: str = "localhost:8000", **headers: str) -> Request:
    """A request as the server hands it on."""
    given = {"host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
    raw = [(name.encode(), value.encode("latin-1")) for name, value in given.items()]
    return Request({"type": "http", "method": "GET", "path": "/", "headers": raw, "client": (peer, 1)})


class TestLoopback:
    @pytest.mark.parametrize(
        ("host", "is_so"),
        [
            ("127.0.0.1", True),
            ("127.1.2.3", True),
            ("::1", True),
            ("[::1]", True),
            ("localhost", True),
            ("0.0.0.0", False),
            ("::", False),
            ("10.0.0.1", False),
            ("localhost.example.org", False),
            ("", False),
        ],
    )
    def test_an_address(self, host: str, is_so: bool) -> None:
        """Only 127.0.0.0/8, ::1 and the name localhost lead to this machine alone."""
        assert is_loopback(host) is is_so

    @pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1:1", "[::1]:1", "[::1]"])
    def test_a_request_of_this_machine(self, host: str) -> None:
        """The header Host with or without a port."""
        assert is_of_this_machine(request(host=host))

    def test_a_request_from_elsewhere(self) -> None:
        """Another peer, a foreign or missing name, a proxy."""
        assert not is_of_this_machine(request(peer="192.0.2.1"))
        assert not is_of_this_machine(request(host="counts.example.org"))
        assert not is_of_this_machine(request(host=""))
        assert not is_of_this_machine(request(x_forwarded_for="192.0.2.1"))


class TestKeys:
    def test_every_key_is_compared_in_constant_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whichever key is given, each that could open the path is compared once, digest against digest."""
        compared: list[int] = []
        plain = hmac.compare_digest

        def counted(given: bytes, key: bytes) -> bool:
            compared.append(len(given))
            return plain(given, key)

        monkeypatch.setattr(hmac, "compare_digest", counted)
        keys = Keys(Settings(service_api_key="one", read_api_key="a-much-longer-two"))
        for given in ("one", "a-much-longer-two"):
            assert keys.judge(request(x_api_key=given), Scope.READ)
        with pytest.raises(HTTPException):
            keys.judge(request(x_api_key="none of them"), Scope.READ)
        assert compared == [32] * 6

    def test_an_unset_key_opens_nothing(self) -> None:
        """Neither an empty header nor a missing one equals a key that is not set."""
        keys = Keys(Settings(metrics_api_key="m"))
        for given in ({}, {"x_api_key": ""}, {"x_api_key": "-"}):
            with pytest.raises(HTTPException):
                keys.judge(request(**given), Scope.READ)

    @pytest.mark.parametrize(
        ("release_on_query", "peer", "may"),
        [(None, "127.0.0.1", True), (None, "192.0.2.1", False), (True, "192.0.2.1", True), (False, "127.0.0.1", False)],
    )
    def test_who_may_have_a_release_made(self, release_on_query: bool | None, peer: str, may: bool) -> None:
        """SERVICE_API_KEY where RELEASE_ON_QUERY says so, by default on loopback; READ_API_KEY never."""
        keys = Keys(Settings(service_api_key="s", read_api_key="r", release_on_query=release_on_query))
        assert keys.judge(request(peer=peer, x_api_key="s"), Scope.READ).may_release is may
        assert keys.judge(request(peer=peer, x_api_key="r"), Scope.READ).may_release is False
