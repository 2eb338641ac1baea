"""The box's own certificate authority: made once, for one name, and good for no other."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from appliance.config.paths import Home
from appliance.errors import ApplianceError
from appliance.lan import authority

HOST = "ai.local"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "appliance.toml", tmp_path / "var")


def vouched(home: Home, name: x509.GeneralName, folder: Path) -> Path:
    """A server's certificate and key, signed by the box's authority: what a thief of its key would make."""
    certificate, secret = authority.files(home, HOST)
    root = x509.load_pem_x509_certificate(certificate.read_bytes())
    signer = load_pem_private_key(secret.read_bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(root.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([name]), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), critical=False)  # type: ignore[arg-type]
        .sign(signer, hashes.SHA256())
    )
    file = folder / "server.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + made.public_bytes(Encoding.PEM))
    return file


def shaken_hands(server: Path, root: str, name: str) -> None:
    """A device that trusts `root` opens a connection to a server. Raises ssl.SSLError."""
    there, here = socket.socketpair()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server)

    def serve() -> None:
        try:
            context.wrap_socket(there, server_side=True).close()
        except OSError:
            there.close()

    other = threading.Thread(target=serve)
    other.start()
    try:
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.load_verify_locations(cadata=root)
        client.wrap_socket(here, server_hostname=name).close()
    finally:
        here.close()
        other.join(10)


def test_it_is_made_once_and_its_key_is_for_the_appliance_alone(home: Home) -> None:
    first = authority.ensure(home, HOST)
    assert authority.ensure(home, HOST) == authority.read(home, HOST) == first
    assert first.until > datetime.now(UTC) + timedelta(days=3000)
    assert len(first.fingerprint) == 32 * 3 - 1
    assert len(first.thumbprint) == 20 * 3 - 1
    assert ssl.PEM_cert_to_DER_cert(first.pem)
    assert authority.files(home, HOST)[1].stat().st_mode & 0o777 == 0o600
    assert authority.ensure(home, "other.local").fingerprint != first.fingerprint


def test_it_vouches_for_its_own_name(home: Home, tmp_path: Path) -> None:
    mine = authority.ensure(home, HOST)
    shaken_hands(vouched(home, x509.DNSName(HOST), tmp_path), mine.pem, HOST)


@pytest.mark.parametrize(
    ("name", "asked"),
    [(x509.DNSName("bank.example"), "bank.example"), (x509.IPAddress(ip_address("192.168.1.1")), "192.168.1.1")],
)
def test_devices_that_trust_it_believe_it_of_no_other_name(
    home: Home, tmp_path: Path, name: x509.GeneralName, asked: str
) -> None:
    mine = authority.ensure(home, HOST)
    with pytest.raises(ssl.SSLCertVerificationError, match=r"permitted subtree violation|excluded subtree violation"):
        shaken_hands(vouched(home, name, tmp_path), mine.pem, asked)


def missing(certificate: Path, key: Path) -> None:
    key.unlink()


def spoilt(certificate: Path, key: Path) -> None:
    certificate.write_text("nonsense")


def locked(certificate: Path, key: Path) -> None:
    certificate.unlink()
    certificate.mkdir()


@pytest.mark.parametrize("damage", [missing, spoilt, locked])
def test_a_damaged_one_is_refused_and_never_replaced_unasked(home: Home, damage: Callable[[Path, Path], None]) -> None:
    authority.ensure(home, HOST)
    damage(*authority.files(home, HOST))
    before = sorted(os.listdir(authority.folder(home, HOST)))  # noqa: PTH208
    with pytest.raises(ApplianceError) as caught:
        authority.ensure(home, HOST)
    assert caught.value.code == "ca-unreadable"
    assert sorted(os.listdir(authority.folder(home, HOST))) == before  # noqa: PTH208


def test_without_one_the_next_step_is_told(home: Home) -> None:
    with pytest.raises(ApplianceError) as caught:
        authority.read(home, HOST)
    assert caught.value.code == "ca-missing"
    assert "[lan]" in caught.value.hint
