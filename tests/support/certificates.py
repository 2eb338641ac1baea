"""A CA of a test's own, and a certificate for 127.0.0.1 and localhost that it has signed."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_PEM = serialization.Encoding.PEM


def make(folder: Path, host: str = "127.0.0.1") -> tuple[Path, Path, Path]:
    """The files of the CA's certificate, the server's, and the server's key."""
    folder.mkdir(parents=True, exist_ok=True)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Test CA {folder.name}")])
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test's server")])
    try:
        known: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address(host)), x509.DNSName(host)]
    except ValueError:
        known = [x509.DNSName(host)]
    now = datetime.now(UTC)

    def builder(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca_name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
        )

    ca = builder(ca_name, ca_key.public_key()).add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
    server = builder(name, key.public_key()).add_extension(x509.SubjectAlternativeName(known), False)
    files = folder / "ca.pem", folder / "server.pem", folder / "server.key"
    files[0].write_bytes(ca.sign(ca_key, hashes.SHA256()).public_bytes(_PEM))
    files[1].write_bytes(server.sign(ca_key, hashes.SHA256()).public_bytes(_PEM))
    kind = serialization.PrivateFormat.PKCS8
    files[2].write_bytes(key.private_bytes(_PEM, kind, serialization.NoEncryption()))
    return files
