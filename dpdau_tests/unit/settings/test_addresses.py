"""Addresses of alerts: taken apart, or refused in one line that does not repeat them."""

from __future__ import annotations

import traceback

import pytest

from dpdau_assets.errors import InputError
from dpdau_assets.settings.addresses import MailServer, mail_server
from dpdau_assets.settings.settings import load_settings, notices, shown

GOOD = [
    ("smtp://mail.example.org", MailServer("mail.example.org", 25, "", "", is_encrypted=False)),
    ("smtp://[::1]:2525/", MailServer("::1", 2525, "", "", is_encrypted=False)),
    ("smtps://ops%40example.org:p%40ss@mail:10465", MailServer("mail", 10465, "ops@example.org", "p@ss", True)),
    ("smtps://u:p@mail", MailServer("mail", 465, "u", "p", is_encrypted=True)),
]


class TestMailServer:
    @pytest.mark.parametrize(("url", "server"), GOOD)
    def test_an_address_has_host_port_and_credentials(self, url: str, server: MailServer) -> None:
        """Ports have defaults, credentials are percent-decoded, and a password prints as nothing."""
        assert mail_server(url) == server
        assert "p@ss" not in repr(server)


class TestSettings:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("smtp_url", "mail.example.org:25"),
            ("smtp_url", "http://hunter2@mail.example.org"),
            ("smtp_url", "smtp://user:hunter2@"),
            ("smtp_url", "smtp://user@mail.example.org"),
            ("smtp_url", "smtp://user:hunter2@mail.example.org:hunter2"),
            ("smtp_url", "smtp://user:hunter2#@mail.example.org"),
            ("smtp_url", "smtp://mail.example.org/?to=hunter2"),
            ("alert_webhook_url", "hooks.example.org/hunter2"),
            ("alert_webhook_url", "file:///etc/hunter2"),
            ("alert_webhook_url", "https:///hunter2"),
            ("alert_webhook_url", "https://user:hunter2@hooks.example.org/"),
            ("alert_webhook_url", "https://hooks.example.org/a b hunter2"),
            ("alert_webhook_url", "https://[hooks.example.org/hunter2"),
        ],
    )
    def test_a_malformed_address_is_refused_without_repeating_it(self, name: str, value: str) -> None:
        """One line with the name and the form that is needed; neither it nor a traceback holds a part of the value."""
        with pytest.raises(InputError, match=name.upper()) as refused:
            load_settings(**{name: value})
        assert "needs " in refused.value.message
        assert "\n" not in refused.value.message
        assert "hunter2" not in "".join(traceback.format_exception(refused.value))

    def test_a_good_one_is_shown_as_stars(self) -> None:
        """`dpdau settings` shows neither the password of SMTP_URL nor the address of the webhook."""
        settings = load_settings(smtp_url="smtp://user:hunter2@mail", alert_webhook_url="https://hooks/hunter2")
        assert "hunter2" not in repr(settings)
        assert {shown(settings.smtp_url), shown(settings.alert_webhook_url)} == {"**********"}

    def test_a_mail_server_without_a_reader_is_noted(self) -> None:
        """SMTP_URL alone sends nothing, and says so."""
        (line,) = notices(load_settings(smtp_url="smtp://mail", admin_email=""))
        assert "ADMIN_EMAIL" in line
        assert notices(load_settings(smtp_url="smtp://mail", admin_email="ops@example.org")) == ()
