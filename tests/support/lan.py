"""A box on the network, as far as one machine goes: real Caddy on loopback, reached by its name."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import ssl
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from appliance.chat.environment import content_policy
from appliance.config.load import load
from appliance.config.paths import Home, find_home
from appliance.config.settings import Settings
from appliance.control import lan
from appliance.lan import authority, caddy
from appliance.supervise.process import answers
from appliance.supervise.spec import Probe
from tests.support.box import Box, free_port, wait_until
from tests.support.sign_on import Said, SignOn

HOST = "box.example.test"


def ports(many: int) -> list[int]:
    """Ports that nobody listens on now, all different."""
    trials = [socket.socket() for _ in range(many)]
    for trial in trials:
        trial.bind(("127.0.0.1", 0))
    found = [int(trial.getsockname()[1]) for trial in trials]
    for trial in trials:
        trial.close()
    return found


@dataclass
class Network:
    """The ports of a box on the network, and how a device that trusts it comes."""

    box: Box
    host: str = HOST
    https_port: int = 0
    sign_on_port: int = 0
    http_port: int = 0
    identity_port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.https_port, self.sign_on_port, self.http_port = ports(3)

    @property
    def settings(self) -> str:
        """Its part of the settings file."""
        return (
            f"[identity]\nenabled = true\nport = {self.identity_port}\n"
            f'[lan]\nenabled = true\nhost = "{self.host}"\naddress = "127.0.0.1"\nhttps_port = {self.https_port}\n'
            f"sign_on_port = {self.sign_on_port}\nhttp_port = {self.http_port}\n"
        )

    @property
    def home(self) -> Home:
        """Where it is."""
        return find_home(self.box.config, self.box.state)

    @property
    def origin(self) -> str:
        """The address of the chat page."""
        return f"https://{self.host}:{self.https_port}"

    def loaded(self) -> Settings:
        """The settings."""
        return load(self.box.config)

    def trusting(self) -> ssl.SSLContext:
        """What a device has once it trusts the box, and nobody else."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=authority.read(self.home, self.host).pem)
        return context

    def secure(self, port: int, context: ssl.SSLContext | None = None, name: str = "") -> ssl.SSLSocket:
        """An encrypted connection. Raises ssl.SSLError where the certificate is not right."""
        plain = socket.create_connection(("127.0.0.1", port), timeout=30)
        try:
            return (context or self.trusting()).wrap_socket(plain, server_hostname=name or self.host)
        except BaseException:
            plain.close()
            raise

    def connection(self, port: int, *, tls: bool = True) -> http.client.HTTPConnection:
        """A connection for requests."""
        made = http.client.HTTPConnection(self.host, port, timeout=30)
        made.sock = self.secure(port) if tls else socket.create_connection(("127.0.0.1", port), timeout=30)
        return made

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        port: int = 0,
        *,
        tls: bool = True,
    ) -> Said:
        """One request as it stands; `body` is JSON, or bytes as they are."""
        made = self.connection(port or self.https_port, tls=tls)
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        try:
            made.request(method, path, data, headers or {})
            response = made.getresponse()
            found = response.getheaders()
            return Said(
                response.status,
                {name.lower(): value for name, value in found},
                response.read(),
                [value for name, value in found if name.lower() == "set-cookie"],
            )
        finally:
            made.close()

    def plain(self, path: str, headers: dict[str, str] | None = None) -> Said:
        """A request without encryption."""
        return self.ask("GET", path, headers=headers, port=self.http_port, tls=False)


@dataclass
class NetworkSignOn(SignOn):
    """Sign-on as browsers on the network come to it."""

    network: Network | None = None

    @property
    def issuer(self) -> str:
        assert self.network is not None
        return f"https://{self.network.host}:{self.network.sign_on_port}"

    def ask(
        self, method: str, path: str, form: dict[str, str] | None = None, headers: dict[str, str] | None = None
    ) -> Said:
        from urllib.parse import urlencode

        assert self.network is not None
        kind = {} if form is None else {"Content-Type": "application/x-www-form-urlencoded"}
        body = None if form is None else urlencode(form).encode()
        return self.network.ask(method, path, body, {**kind, **(headers or {})}, self.network.sign_on_port)


@dataclass
class Front:
    """Caddy alone, as we tell it to be, before a chat page of the test's own, whose files are in a folder."""

    network: Network
    chat: str
    assets: str = ""
    times: caddy.Times = field(default_factory=caddy.Times)
    process: subprocess.Popen[bytes] | None = None

    def start(self, program: str) -> None:
        """Run it."""
        home, settings = self.network.home, self.network.loaded()
        site = lan.site(home, settings, self.chat, self.times)
        told = caddy.config(settings.lan, replace(site, assets=self.assets, policy=content_policy(self.network.origin)))
        home.caddy.write_text(json.dumps(told))
        log = self.log.open("ab")
        self.process = subprocess.Popen([program, "run", "--config", str(home.caddy)], stdout=log, stderr=log)
        log.close()
        wait_until(lambda: answers(Probe("/health", socket=str(home.socket("lan")))), 30, "Caddy's health")

    @property
    def log(self) -> Path:
        """What Caddy says."""
        return self.network.box.folder / "caddy.log"

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(20)
        self.process = None
