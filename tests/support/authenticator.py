"""A device that holds passkeys, in software: what a browser and its authenticator make of a page's wishes."""

from __future__ import annotations

import hashlib
import json
import os
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

PRESENT, VERIFIED, NEW = 0x01, 0x04, 0x40


def text(value: bytes) -> str:
    """Bytes in base64url."""
    return urlsafe_b64encode(value).rstrip(b"=").decode()


@dataclass
class Authenticator:
    """One device, in a browser that shows pages of `origin`. It does all right unless it is told otherwise."""

    origin: str
    host: str
    flags: int = PRESENT | VERIFIED
    count: int = 0
    step: int = 1
    id: bytes = field(default_factory=lambda: os.urandom(32))
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    user: str = ""

    def create(self, wanted: dict[str, Any]) -> str:
        """A new passkey, as a page's script sends it."""
        assert wanted["rp"]["id"] == self.host
        self.user = wanted["user"]["id"]
        point = self.key.public_key().public_numbers()
        public = {1: 2, 3: -7, -1: 1, -2: point.x.to_bytes(32), -3: point.y.to_bytes(32)}
        data = bytes(16) + len(self.id).to_bytes(2) + self.id + cbor2.dumps(public)
        attested = {"fmt": "none", "attStmt": {}, "authData": self._about(self.flags | NEW) + data}
        client = text(self._client("webauthn.create", wanted))
        return self._answer(clientDataJSON=client, attestationObject=text(cbor2.dumps(attested)))

    def get(self, wanted: dict[str, Any], **changed: str) -> str:
        """A signature of this passkey."""
        self.count += self.step
        about, client = self._about(self.flags), self._client("webauthn.get", wanted)
        signed = self.key.sign(about + hashlib.sha256(client).digest(), ec.ECDSA(SHA256()))
        said = {"authenticatorData": text(about), "signature": text(signed), "userHandle": self.user}
        return self._answer(clientDataJSON=text(client), **{**said, **changed})

    def _client(self, kind: str, wanted: dict[str, Any]) -> bytes:
        said = {"type": kind, "challenge": wanted["challenge"], "origin": self.origin, "crossOrigin": False}
        return json.dumps(said).encode()

    def _about(self, flags: int) -> bytes:
        return hashlib.sha256(self.host.encode()).digest() + bytes([flags]) + self.count.to_bytes(4)

    def _answer(self, **response: str) -> str:
        return json.dumps({"id": text(self.id), "rawId": text(self.id), "type": "public-key", "response": response})
