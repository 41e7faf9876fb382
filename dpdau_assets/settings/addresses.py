"""The addresses that alerts go to: how they are written in settings, and what their parts mean.

Belongs here: taking an address apart, and refusing a malformed one without repeating it, for it can hold a password.
Does not belong here: connecting to it (`operations.send_alerts`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import AfterValidator, SecretStr

MAIL_PORTS = {"smtp": 25, "smtps": 465}
"""The default port of each scheme."""
MAIL_FORM = "needs smtp://[user:password@]host[:port] or smtps://..., with %40 for @ and the like inside the password"
WEBHOOK_FORM = "needs http:// or https:// with a host, and no user:password@"


@dataclass(frozen=True, slots=True)
class MailServer:
    """The server that e-mail is sent through.

    Attributes:
        host: Name or address.
        port: TCP port.
        user: The user name; empty for a server that asks for no password.
        password: Prints as nothing.
        is_encrypted: Whether the connection begins with TLS (`smtps`).
    """

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    is_encrypted: bool


def mail_server(url: str) -> MailServer:
    """Returns the parts of SMTP_URL.

    Raises:
        ValueError: The URL is malformed; the message does not repeat it.
    """
    parts = _parts(url)
    if parts is None or parts.scheme not in MAIL_PORTS or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(MAIL_FORM)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if bool(user) != bool(password):
        raise ValueError(MAIL_FORM)
    port = parts.port or MAIL_PORTS[parts.scheme]
    return MailServer(parts.hostname or "", port, user, password, is_encrypted=parts.scheme == "smtps")


def _checked_mail(value: SecretStr) -> SecretStr:
    mail_server(value.get_secret_value())
    return value


def _checked_webhook(value: SecretStr) -> SecretStr:
    parts = _parts(value.get_secret_value())
    if parts is None or parts.scheme not in ("http", "https") or "@" in parts.netloc:
        raise ValueError(WEBHOOK_FORM)
    return value


def _parts(url: str) -> SplitResult | None:
    """Returns the parts of an address, or None, without the library's message, unless host and port are valid."""
    try:
        parts = urlsplit(url)
        is_complete = (
            bool(parts.hostname) and parts.port != 0 and url.isascii() and url.isprintable() and " " not in url
        )
    except ValueError:
        return None
    return parts if is_complete else None


SmtpUrl = Annotated[SecretStr, AfterValidator(_checked_mail)]
WebhookUrl = Annotated[SecretStr, AfterValidator(_checked_webhook)]
