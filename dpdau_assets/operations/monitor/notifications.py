"""Sending alerts: by e-mail to ADMIN_EMAIL through SMTP_URL, and as JSON to ALERT_WEBHOOK_URL.

Belongs here: one message for everything there is to say, over whichever ways the settings name. Does not belong here:
what is worth an alert (`alerts`), when to say it again and where else it is written (the caller). A message that
cannot be delivered gives one line without address or credentials, and no error: the caller tries again.
"""

from __future__ import annotations

import json
import smtplib
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from http.client import HTTPException
from typing import Any

from dpdau_assets.settings.addresses import MailServer, mail_server
from dpdau_assets.settings.settings import Settings

TIMEOUT_SECONDS = 4.0
"""For each answer waited for; a sensor's tick has a minute for all of them."""
OWN_NAME = "[127.0.0.1]"
"""How we greet a mail server: looking up the machine's name can take longer than the whole message."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")

Delivery = Callable[[Sequence["Notice"]], str | None]
"""Sends notices in one message; None, or one line on why they did not arrive."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What is said of an alert.

    Attributes:
        state: `new`, `still`, or `over`.
        key: The alert's.
        text: One line.
        hint: One line with the next step; empty when it is over.
    """

    state: str
    key: str
    text: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{'' if self.state == 'new' else f'{self.state}: '}{self.text}"


def deliveries(settings: Settings) -> dict[str, Delivery]:
    """The ways out of this machine that the settings name; none by default."""
    ways: dict[str, Delivery] = {}
    if settings.smtp_url and settings.admin_email:
        server = mail_server(settings.smtp_url.get_secret_value())
        ways["email"] = _guarded("email", lambda notices: _mail(server, settings.admin_email, notices))
    if settings.alert_webhook_url:
        url = settings.alert_webhook_url.get_secret_value()
        ways["webhook"] = _guarded("webhook", lambda notices: _post(url, notices))
    return ways


def as_text(notices: Sequence[Notice]) -> str:
    """The notices, a line each, with the hints below theirs."""
    return "\n".join(f"{notice}\n    {notice.hint}" if notice.hint else str(notice) for notice in notices)


def _guarded(name: str, send: Callable[[Sequence[Notice]], None]) -> Delivery:
    """`send`, whose failure is a line: what a library says can quote the address, hence its kind and code only."""

    def deliver(notices: Sequence[Notice]) -> str | None:
        try:
            send(notices)
        except (OSError, ValueError, smtplib.SMTPException, HTTPException) as error:
            return f"{name}: alerts not delivered ({_kind(error)}); tried again at the next tick"
        return None

    return deliver


def _kind(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answered {error.code}"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{type(error).__name__} {error.smtp_code}"
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    return type(reason).__name__


def _mail(server: MailServer, address: str, notices: Sequence[Notice]) -> None:
    message = EmailMessage()
    message["From"] = server.user if "@" in server.user else address
    message["To"] = address
    more = f" (and {len(notices) - 1} more)" if len(notices) > 1 else ""
    message["Subject"] = f"dpdau: {notices[0]}{more}"
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = make_msgid(domain="dpdau.invalid")
    message.set_content(as_text(notices) + "\n")
    connection = _connected(server)
    try:
        connection.send_message(message)
        with suppress(OSError, smtplib.SMTPException):
            connection.quit()  # the message is taken already, whatever the server says to this
    finally:
        connection.close()


def _connected(server: MailServer) -> smtplib.SMTP:
    """A connection on which a password is sent only encrypted, or to this machine itself.

    Raises:
        SMTPException, OSError: No connection, or none to be trusted with a password.
    """
    context = ssl.create_default_context()
    if server.is_encrypted:
        connection: smtplib.SMTP = smtplib.SMTP_SSL(
            server.host, server.port, OWN_NAME, timeout=TIMEOUT_SECONDS, context=context
        )
    else:
        connection = smtplib.SMTP(server.host, server.port, OWN_NAME, timeout=TIMEOUT_SECONDS)
    try:
        connection.ehlo_or_helo_if_needed()
        is_private = server.is_encrypted or server.host in LOOPBACK
        if not is_private and (server.user or connection.has_extn("starttls")):
            connection.starttls(context=context)
        if server.user:
            connection.login(server.user, server.password)
    except BaseException:
        connection.close()
        raise
    return connection


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST arrives as a GET without its content: it counts as not delivered."""

    def redirect_request(self, *_args: Any, **_named: Any) -> None:
        return None


def _post(url: str, notices: Sequence[Notice]) -> None:
    document = {"source": "dpdau", "text": as_text(notices), "alerts": [asdict(notice) for notice in notices]}
    request = urllib.request.Request(url, json.dumps(document).encode(), {"Content-Type": "application/json"})
    with urllib.request.build_opener(_NoRedirect).open(request, timeout=TIMEOUT_SECONDS) as answer:
        answer.read(1)
