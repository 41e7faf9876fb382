"""Alerts arrive at a real mail server and a real webhook, or give one line that holds no secret."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from dpdau_assets.operations.monitor import notifications
from dpdau_assets.operations.monitor.notifications import Notice, deliveries
from dpdau_assets.settings.settings import Settings
from dpdau_tests.support.alert_servers import MailBox, Webhook, closed_port, running

NEW = Notice("new", "releases_late", "days are not released", "dpdau status")
OVER = Notice("over", "erasure_overdue", "an erasure is pending")
SECRET = "hunter2"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback is asked directly, whatever the machine's environment says."""
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def mail_box() -> Iterator[MailBox]:
    server = MailBox()
    with running(server):
        yield server


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    server = Webhook()
    with running(server):
        yield server


def _mail(port: int, **given: str) -> Callable[..., str | None]:
    url = f"smtp://user:{SECRET}@127.0.0.1:{port}"
    return deliveries(Settings(smtp_url=url, admin_email="ops@example.org", **given))["email"]


def _hook(port: int) -> Callable[..., str | None]:
    return deliveries(Settings(alert_webhook_url=f"http://127.0.0.1:{port}/{SECRET}"))["webhook"]


class TestDeliveries:
    def test_nothing_leaves_by_default(self) -> None:
        """Without addresses there is no way out, nor by a mail server without a reader."""
        assert deliveries(Settings()) == {}
        assert deliveries(Settings(smtp_url="smtp://localhost")) == {}

    def test_an_e_mail_holds_every_notice(self, mail_box: MailBox) -> None:
        """One message to ADMIN_EMAIL: the first notice as its subject, all of them with their hints inside."""
        assert _mail(mail_box.server_address[1])([NEW, OVER]) is None
        (message,) = mail_box.messages
        assert (message["To"], message["From"]) == ("ops@example.org", "ops@example.org")
        assert message["Subject"] == "dpdau: days are not released (and 1 more)"
        assert message["Date"] and message["Message-ID"]
        assert message.get_content().replace("\r", "") == (
            "days are not released\n    dpdau status\nover: an erasure is pending\n"
        )
        assert mail_box.logins == [f"user {SECRET}"]

    def test_a_webhook_gets_one_document(self, webhook: Webhook) -> None:
        """The same as JSON: the text for people, the parts for programs."""
        assert _hook(webhook.server_port)([NEW, OVER]) is None
        (document,) = webhook.documents
        assert document["source"] == "dpdau"
        assert "over: an erasure is pending" in document["text"]
        assert [(one["state"], one["key"]) for one in document["alerts"]] == [
            ("new", "releases_late"),
            ("over", "erasure_overdue"),
        ]


class TestFailures:
    def test_a_dead_server_is_one_line_without_secrets(self) -> None:
        """What failed and of what kind; neither the address nor a password."""
        with closed_port() as port:
            for way, deliver in (("email", _mail(port)), ("webhook", _hook(port))):
                line = str(deliver([NEW]))
                assert line == f"{way}: alerts not delivered (ConnectionRefusedError); tried again at the next tick"

    def test_a_refusal_names_its_code_only(self, mail_box: MailBox, webhook: Webhook) -> None:
        """What the server says can quote what it was given."""
        mail_box.refusal = f"550 no mail from {SECRET}"
        line = str(_mail(mail_box.server_address[1])([NEW]))
        assert "(SMTPSenderRefused 550)" in line
        assert SECRET not in line
        webhook.status = 500
        assert "the server answered 500" in str(_hook(webhook.server_port)([NEW]))

    def test_a_redirect_is_not_followed(self, webhook: Webhook) -> None:
        """A redirected POST would arrive as a GET without its content, and pass for delivered."""
        webhook.status = 302
        assert "the server answered 302" in str(_hook(webhook.server_port)([NEW]))
        assert webhook.methods == ["POST"]

    def test_a_silent_server_is_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A server that accepts and says nothing costs the time limit, not the sensor's minute."""
        monkeypatch.setattr(notifications, "TIMEOUT_SECONDS", 0.05)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            assert "SMTPServerDisconnected" in str(_mail(port)([NEW]))
            assert "TimeoutError" in str(_hook(port)([NEW]))

    def test_a_password_is_not_sent_in_the_clear(self, mail_box: MailBox, monkeypatch: pytest.MonkeyPatch) -> None:
        """A server elsewhere that offers no encryption gets neither the password nor the message."""
        monkeypatch.setattr(notifications, "LOOPBACK", ())
        assert "SMTPNotSupportedError" in str(_mail(mail_box.server_address[1])([NEW]))
        assert (mail_box.logins, mail_box.messages) == ([], [])
