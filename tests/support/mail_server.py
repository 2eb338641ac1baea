"""A mail server as the company has one: real SMTP, with a certificate that it makes, and it may refuse."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

USER, PASSWORD = "ai@example.com", "smtp-password-1"


@dataclass
class MailServer:
    """Where it listens, the certificate to trust, and what came: each with whether it was encrypted on the way."""

    port: int
    certificate: Path
    came: list[tuple[EmailMessage, bool]] = field(default_factory=list)


class _Handler:
    """Takes mail, but for addresses that begin with `nobody`."""

    def __init__(self, server: MailServer) -> None:
        self._server = server

    async def handle_RCPT(self, _: Any, __: Session, envelope: Envelope, to: str, ___: list[str]) -> str:  # noqa: N802
        if to.startswith("nobody"):
            return "550 5.1.1 There is no such mailbox"
        envelope.rcpt_tos.append(to)
        return "250 OK"

    async def handle_DATA(self, _: Any, session: Session, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.original_content, bytes)
        message = message_from_bytes(envelope.original_content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        self._server.came.append((message, session.ssl is not None))
        return "250 OK"


def _right(_: Any, __: Any, ___: Any, mechanism: str, data: Any) -> AuthResult:
    right = isinstance(data, LoginPassword) and (data.login, data.password) == (USER.encode(), PASSWORD.encode())
    # Not handled: the server itself says 535 then.
    return AuthResult(success=right, handled=False)


@contextmanager
def mail_server(folder: Path, port: int) -> Iterator[MailServer]:
    """A server with STARTTLS, for whoever signs in."""
    certificate = _certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = MailServer(port, certificate)
    controller = Controller(
        _Handler(server), hostname="127.0.0.1", port=port, tls_context=context, require_starttls=True,
        authenticator=_right, auth_required=True,
    )  # fmt: skip
    controller.start()
    try:
        yield server
    finally:
        controller.stop()


def _certificate(folder: Path) -> Path:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "mail.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file
