"""The box on the network, as `up` brings it there: what must be right before, what is written, what runs."""

from __future__ import annotations

import json
import shutil
import socket
import sys
from dataclasses import replace

from appliance.accounts.owners import who_can_sign_in
from appliance.chat import install
from appliance.chat.environment import content_policy
from appliance.config.addresses import addresses, bracketed
from appliance.config.paths import Home, cache_folder
from appliance.config.settings import Settings
from appliance.control import exposure
from appliance.errors import ApplianceError
from appliance.lan import authority, caddy, pages
from appliance.lan.announce import Name
from appliance.lan.naming import is_ours_to_tell
from appliance.store.files import write_atomic
from appliance.store.sessions import session
from appliance.supervise.spec import Probe, ProcessSpec

# Debian puts programs for admins where the path of a plain user does not lead.
_ALSO = "/usr/bin:/usr/sbin:/usr/local/bin:/usr/local/sbin"
_AWAY = "This is starting, or does not answer at the moment. Please try again in a minute.\n"
# The names of its processes, in the order in which they start.
PROCESSES = ("lan", "name")


def prepare(home: Home, settings: Settings) -> None:
    """Write what Caddy is started with; nothing where the box is not on the network.

    Raises lan-needs-owner, ca-unreadable, chat-page-missing or a database error.
    """
    if not settings.lan.enabled:
        return
    with session(home.database) as opened:
        exposure.check_owner(settings, len(who_can_sign_in(opened)))
    chat = settings.chat
    page = f"{bracketed(chat.host)}:{chat.port}" if chat.enabled else ""
    told = site(home, settings, page)
    if chat.enabled:
        assets = install.frontend(install.find(cache_folder()))
        told = replace(told, assets=str(assets), policy=content_policy(chat.origin))
    found = caddy.config(settings.lan, told)
    write_atomic(home.caddy, json.dumps(found, indent=1, ensure_ascii=False).encode(), 0o600)


def ports(settings: Settings) -> list[tuple[str, int, str]]:
    """The ports that it needs: address, port, and the setting that says so."""
    lan = settings.lan
    host = lan.address or "0.0.0.0"
    names = ("https_port", "sign_on_port", "http_port") if lan.enabled else ()
    return [(host, getattr(lan, name), f"lan.{name}") for name in names]


def site(home: Home, settings: Settings, chat: str = "", times: caddy.Times | None = None) -> caddy.Site:
    """What Caddy is to serve; `chat` is where the chat page listens, as HOST:PORT, empty where there is none.

    The certificate authority is made if there is none yet. Raises ca-unreadable or state-read-only.
    """
    lan = settings.lan
    mine = authority.ensure(home, lan.host)
    certificate, key = authority.files(home, lan.host)
    return caddy.Site(
        gateway=f"unix/{home.socket('gateway')}",
        identity=f"unix/{home.socket('identity')}",
        chat=chat,
        largest=settings.gateway.max_file,
        storage=str(authority.folder(home, lan.host) / "caddy"),
        root=str(certificate),
        key=str(key),
        health=f"unix/{home.socket('lan')}",
        home=pages.home(lan, addresses(settings)),
        texts=pages.trust(lan, mine),
        away=_AWAY,
        times=times or caddy.Times(),
    )


def processes(home: Home, settings: Settings) -> tuple[ProcessSpec, ...]:
    """Caddy, and what makes the name known. Raises caddy-missing or avahi-missing."""
    if not settings.lan.enabled:
        return ()
    program = _found("caddy")
    if program is None:
        raise ApplianceError(
            "caddy-missing", "HTTPS on the network needs Caddy, which is not installed.", "sudo apt-get install caddy"
        )
    health = str(home.socket("lan"))
    web = ProcessSpec(
        name="lan",
        argv=(program, "run", "--config", str(home.caddy)),
        probe=Probe(path="/health", socket=health),
        log=str(home.logs / "lan.log"),
        stale=(health,),
    )
    return (web, *_name_process(home, settings))


def _name_process(home: Home, settings: Settings) -> tuple[ProcessSpec, ...]:
    lan = settings.lan
    if not is_ours_to_tell(lan.host, socket.gethostname()):
        return ()
    program = _found("avahi-publish")
    if program is None:
        raise ApplianceError(
            "avahi-missing",
            f"To make the name {lan.host} known on the network needs Avahi, which is not installed.",
            "sudo apt-get install avahi-daemon avahi-utils, or set `host` under [lan] to a name of your own DNS.",
        )
    ready = str(home.socket("name"))
    name = Name(lan.host, lan.address or "", ready, program)
    return (
        ProcessSpec(
            name="name",
            argv=(sys.executable, "-P", "-m", "appliance.cli.lan_name", name.to_json()),
            probe=Probe(path="/health", socket=ready),
            log=str(home.logs / "name.log"),
            nice=5,
            stale=(ready,),
        ),
    )


def _found(program: str) -> str | None:
    return shutil.which(program) or shutil.which(program, path=_ALSO)
