"""Connections that our processes have to other machines: there are none but those that the settings name."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

import psutil

from appliance.config.settings import Settings
from appliance.doctor.check import SETTINGS, Check
from appliance.doctor.finding import Finding
from appliance.doctor.situation import Situation

_ENDED: Final = frozenset({psutil.CONN_LISTEN, psutil.CONN_TIME_WAIT, psutil.CONN_CLOSE, psutil.CONN_NONE})
_NAME_SERVICE: Final = 53


def look(situation: Situation) -> Iterator[Finding]:
    """Connections that lead elsewhere and that nobody has asked for."""
    found = list(outgoing(situation.pids))
    if not found:
        return
    allowed = addresses(situation.told)
    told = set()
    for name, address, port in found:
        if address not in allowed and port != _NAME_SERVICE and (name, address) not in told:
            told.add((name, address))
            yield Finding("connection-unknown", f"{name} is connected to {address}, port {port}.", f"{name} {address}")


def outgoing(pids: frozenset[int]) -> Iterator[tuple[str, str, int]]:
    """Program, address and port of each connection to another machine that one of these processes has begun."""
    for pid in pids:
        try:
            process = psutil.Process(pid)
            name, every = process.name(), process.net_connections("tcp")
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        listens = {one.laddr.port for one in every if one.status == psutil.CONN_LISTEN}
        for one in every:
            # Whoever has come to a port of ours has come by himself.
            if one.raddr and one.status not in _ENDED and one.laddr.port not in listens and not _is_here(one.raddr.ip):
                yield name, _plain(one.raddr.ip), one.raddr.port


def addresses(settings: Settings) -> frozenset[str]:
    """All addresses of the machines that the settings name."""
    found: set[str] = set()
    for host in hosts(settings):
        try:
            found |= {str(one[4][0]) for one in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
        except OSError:
            continue
    return frozenset(found)


def hosts(settings: Settings) -> set[str]:
    """The machines that the settings name, as they name them."""
    cloud, identity = settings.cloud, settings.identity
    urls = [one.url for one in settings.engines.values()]
    if cloud.enabled:
        urls += [*(one.url for one in cloud.providers.values()), cloud.proxy]
    urls += [*(one.issuer for one in identity.providers.values()), identity.directory.url]
    found = {urlsplit(url).hostname for url in urls if url}
    return {host for host in (*found, settings.mail.server) if host}


def _is_here(text: str) -> bool:
    return ipaddress.ip_address(_plain(text)).is_loopback


def _plain(text: str) -> str:
    """An address without what only wraps it: `::ffff:10.0.0.1` is 10.0.0.1."""
    address = ipaddress.ip_address(text.partition("%")[0])
    inner = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(inner or address)


CHECK = Check("connections", "Nothing of ours is connected elsewhere unasked.", look, needs=frozenset({SETTINGS}))
