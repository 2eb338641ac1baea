"""The ports that the settings name: whether they are ours to have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import psutil

from appliance.config.settings import Settings
from appliance.control import lan
from appliance.doctor.check import SETTINGS, Check
from appliance.doctor.finding import Finding
from appliance.doctor.situation import Situation
from appliance.hardware.tree import Tree, number, text
from appliance.supervise import systemd

_ANY: Final = frozenset({"0.0.0.0", "::"})
_LOW: Final = 1024


def look(situation: Situation) -> Iterator[Finding]:
    """Ports that somebody else listens on, or that this account may not have."""
    listening = list(_listening())
    first = number(situation.tree.proc / "sys/net/ipv4/ip_unprivileged_port_start")
    for host, port, setting in ports(situation.told):
        met = [pid for address, taken, pid in listening if taken == port and _meet(host, address)]
        others = [pid for pid in met if not _is_ours(pid, situation.pids)]
        if others:
            words = f"Port {port} on {host} ({setting}) is taken by {_name(others[0])}."
            yield Finding("port-taken", words, setting, facts={"port": port})
        # As a service of the system, what listens there was given the right.
        allowed = _may_have_any(situation.tree) or systemd.manages(situation.home.run)
        if port < (_LOW if first is None else first) and not allowed:
            yield Finding("port-not-allowed", f"This account may not listen on port {port} ({setting}).", setting)


def _listening() -> Iterator[tuple[str, int, int | None]]:
    """Address, port and process of all that listens; no process where the system does not tell."""
    for one in psutil.net_connections("tcp"):
        if one.status == psutil.CONN_LISTEN and one.laddr:
            yield one.laddr.ip, one.laddr.port, one.pid


def _is_ours(pid: int | None, ours: frozenset[int]) -> bool:
    """Whether a process is ours. Of those of another account the system tells no number: while ours run, it is them."""
    return pid in ours if pid is not None else bool(ours)


def _may_have_any(tree: Tree) -> bool:
    """Whether this process may listen on ports below the limit: the power to do so is bit 10 (capabilities(7))."""
    for line in text(tree.proc / "self/status").splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff":
            return bool(int(value, 16) >> 10 & 1)
    return True


def ports(settings: Settings) -> Iterator[tuple[str, int, str]]:
    """Address, port and the setting that says so, of all that is switched on."""
    gateway, identity, chat = settings.gateway, settings.identity, settings.chat
    yield gateway.host, gateway.port, "gateway.port"
    if identity.enabled:
        yield identity.host, identity.port, "identity.port"
    if chat.enabled:
        yield chat.host, chat.port, "chat.port"
    yield from lan.ports(settings)


def _meet(one: str, other: str) -> bool:
    return one == other or bool(_ANY & {one, other})


def _name(pid: int | None) -> str:
    if pid is None:
        return "a program of another account"
    try:
        return f"{psutil.Process(pid).name()} (process {pid})"
    except psutil.NoSuchProcess:
        return f"process {pid}"


CHECK = Check("ports", "The ports are ours.", look, needs=frozenset({SETTINGS}))
