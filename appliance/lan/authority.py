"""The box's own certificate authority: made once for a name, and good for no other name."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from appliance.config.paths import Home
from appliance.errors import ApplianceError
from appliance.store.files import write_atomic

# Ten years: to trust it is work on every device.
_DAYS: Final = 3650
# Clocks differ: it is good from the day before.
_EARLIER: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Authority:
    """The certificate that devices are to trust: PEM text, whom it names, its last second.

    `fingerprint` is its SHA-256 as `AB:CD:...`, and `thumbprint` its SHA-1, which is all that Windows shows.
    """

    host: str
    pem: str
    fingerprint: str
    thumbprint: str
    name: str
    until: datetime


def folder(home: Home, host: str) -> Path:
    """Where the authority of a name is, with all that Caddy keeps for it."""
    return home.lan / host


def files(home: Home, host: str) -> tuple[Path, Path]:
    """Its certificate and its private key."""
    return folder(home, host) / "root.crt", folder(home, host) / "root.key"


def ensure(home: Home, host: str) -> Authority:
    """The authority of a name, made if there is none. Raises ca-unreadable or state-read-only."""
    home.prepare()
    certificate, key = files(home, host)
    if not certificate.exists():
        folder(home, host).mkdir(mode=0o700, parents=True, exist_ok=True)
        pem, secret = _make(host)
        # The key first: a certificate without it would never be replaced.
        write_atomic(key, secret, 0o600)
        write_atomic(certificate, pem, 0o600)
    return whole(home, host)


def whole(home: Home, host: str) -> Authority:
    """The authority of a name, with its key. Raises ca-missing or ca-unreadable; changes nothing."""
    found, key = read(home, host), files(home, host)[1]
    if not key.exists():
        raise _unreadable(key, "it is missing")
    return found


def read(home: Home, host: str) -> Authority:
    """The authority of a name. Raises ca-missing or ca-unreadable."""
    path = files(home, host)[0]
    try:
        pem = path.read_bytes()
        found = x509.load_pem_x509_certificate(pem)
    except FileNotFoundError:
        raise ApplianceError(
            "ca-missing",
            f"There is no certificate for {host} yet.",
            "Set `enabled = true` under [lan] in the settings, then run `appliance up`.",
        ) from None
    except (OSError, ValueError) as error:
        raise _unreadable(path, str(error)) from error
    names = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return Authority(
        host=host,
        pem=pem.decode("ascii"),
        fingerprint=found.fingerprint(hashes.SHA256()).hex(":").upper(),
        # To compare by eye with what Windows shows; nothing is decided by it.
        thumbprint=found.fingerprint(hashes.SHA1()).hex(":").upper(),  # noqa: S303
        name=str(names[0].value) if names else "",
        until=found.not_valid_after_utc,
    )


def _unreadable(path: Path, why: str) -> ApplianceError:
    return ApplianceError(
        "ca-unreadable",
        f"The box's own certificate authority cannot be used, {path}: {why}.",
        f"Put the file back from a backup, or remove the folder {path.parent}: then every device must trust a new one.",
    )


def _make(host: str) -> tuple[bytes, bytes]:
    """A certificate and its key, in PEM. It can vouch for this one name only: to trust it opens no other door."""
    key = ec.generate_private_key(ec.SECP256R1())
    today = datetime.now(UTC).replace(microsecond=0)
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "AI appliance"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"AI appliance {host} {today.year}"),
        ]
    )
    everywhere = [x509.IPAddress(ipaddress.ip_network(one)) for one in ("0.0.0.0/0", "::/0")]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - _EARLIER)
        .not_valid_after(today + timedelta(days=_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .add_extension(_only_signs_certificates(), critical=True)
        .add_extension(x509.NameConstraints([x509.DNSName(host)], everywhere), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return made.public_bytes(Encoding.PEM), secret


def _only_signs_certificates() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
