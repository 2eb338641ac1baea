"""Sends one mail by the company's own server (SMTP). What it carries lets its reader in, so the way is encrypted."""

from __future__ import annotations

import smtplib
import ssl
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import Final

from appliance.cloud.secrets import UnusableKeyError, read_key
from appliance.config.mail import MailSettings
from appliance.errors import ApplianceError

# How long any one step may take.
_WAIT_S: Final = 20.0


def send(settings: MailSettings, to: str, name: str, subject: str, text: str) -> None:
    """Hand a mail to the server for one reader. Raises mail-failed; then it may be sent again."""
    assert settings.server is not None
    assert settings.sender is not None
    try:
        message = _message(settings.sender, to, name, subject, text)
        with _connect(settings.server, settings) as server:
            if settings.user is not None and settings.password_file is not None:
                server.login(settings.user, _password(settings.password_file))
            server.send_message(message, settings.sender, [to])
    except UnusableKeyError as error:
        raise _failed(settings.server, f"the password in {settings.password_file} cannot be used: {error}") from None
    except smtplib.SMTPRecipientsRefused as error:
        raise _failed(settings.server, f"it does not take mail for {to}: {_said(error.recipients[to])}") from error
    except smtplib.SMTPResponseException as error:
        raise _failed(settings.server, _said((error.smtp_code, error.smtp_error))) from error
    except (OSError, ValueError) as error:
        # smtplib's own errors are OSErrors too; a ValueError is an address that no header can carry.
        raise _failed(settings.server, str(error) or type(error).__name__) from error


def _message(sender: str, to: str, name: str, subject: str, text: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = sender
    message["To"] = Address(name, addr_spec=to)
    message["Subject"] = subject
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
    # No robot answers it, such as one that says that somebody is on holiday (RFC 3834).
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    return message


def _connect(server: str, settings: MailSettings) -> smtplib.SMTP:
    trusted = ssl.create_default_context()
    if settings.security == "tls":
        return smtplib.SMTP_SSL(server, settings.port, timeout=_WAIT_S, context=trusted)
    made = smtplib.SMTP(server, settings.port, timeout=_WAIT_S)
    try:
        if settings.security == "starttls":
            made.starttls(context=trusted)
    except BaseException:
        made.close()
        raise
    return made


def _password(file: str) -> str:
    found = read_key(Path(file))
    if found is None:
        raise UnusableKeyError("there is no such file")
    return found


def _said(answer: tuple[int, bytes | str]) -> str:
    """What the server answered, on one line."""
    code, text = answer
    words = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return f"{code} {' '.join(words.split())[:200]}"


def _failed(server: str, why: str) -> ApplianceError:
    return ApplianceError(
        "mail-failed",
        f"The mail server {server} did not take the mail: {why}.",
        "Mend [mail] in the settings, or send the link yourself.",
    )
