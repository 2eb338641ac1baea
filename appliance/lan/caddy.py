"""What Caddy is told: a pure function from settings to its JSON configuration.

Everything is said, and nothing left to Caddy's own conveniences: it listens nowhere else, asks nobody for a
certificate, has no port for commands, and touches no certificate store of this machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from appliance.config.lan import LanSettings

Json = dict[str, Any]

# What sign-on's cookies begin with. Browsers send a host's cookies to all its ports, so that has to be undone here.
COOKIES: Final = "__Host-appliance-"
# A week: who comes daily is never sent unencrypted, and a box that had to be set up anew can be reached again.
_HSTS: Final = "max-age=604800"
# A slow client may not hold a connection for ever before it has said what it wants; afterwards it may take its time.
_HEADER_S: Final = "10s"
_IDLE_S: Final = "2m"
# A process that is being started again: wait for it this long before saying that it is not there.
_TRY_S: Final = "5s"
# Files of the chat page whose names change with their content, and how long browsers keep them: a year.
_ASSETS: Final = "/_app/immutable/*"
_KEPT: Final = "public, max-age=31536000, immutable"
# Where the chat page sends whoever is to sign in, and what an answer says that is good for this visit only.
_STRANGER: Final[dict[str, list[str]]] = {"Location": ["/oauth/oidc/login"], "Cache-Control": ["no-store"]}
# Answers under way when it is told to end.
_GRACE_S: Final = "5s"


@dataclass(frozen=True, slots=True)
class Times:
    """How long certificates are good, and how often it is looked whether one is to be renewed (at two thirds)."""

    lifetime: str = "12h"
    look: str = "10m"


@dataclass(frozen=True, slots=True)
class Text:
    """A fixed answer: its address, its type, what it says, and the languages that it is the answer for."""

    path: str
    kind: str
    body: str
    language: str = ""


@dataclass(frozen=True, slots=True)
class Site:
    """All that is served: where the processes are (as Caddy dials them), and what is said without asking any.

    `chat` is empty where there is no chat page, and `home` is shown in its place; `largest` bytes may be uploaded to
    it. `assets` is the folder of its files, which are served from there without asking it, under its own `policy`;
    empty to ask it for them too. `texts` are the certificate and the pages about it; `away` is said when a process
    does not answer.
    """

    gateway: str
    identity: str
    chat: str
    largest: int
    storage: str
    root: str
    key: str
    health: str
    home: Sequence[Text]
    texts: Sequence[Text]
    away: str
    times: Times = field(default_factory=Times)
    assets: str = ""
    policy: str = ""


def config(lan: LanSettings, site: Site) -> Json:
    """Caddy's whole configuration."""
    return {
        "admin": {"disabled": True, "config": {"persist": False}},
        "logging": {"logs": {"default": {"level": "WARN", "encoder": {"format": "console"}}}},
        "storage": {"module": "file_system", "root": site.storage},
        "apps": {
            "http": {"grace_period": _GRACE_S, "servers": _servers(lan, site)},
            "tls": _tls(lan, site.times),
            "pki": _pki(lan, site),
        },
    }


def _servers(lan: LanSettings, site: Site) -> Json:
    return {
        "page": _server(lan, lan.https_port, [*_page(lan, site), *_lost(lan)], site, tls=True),
        "sign_on": _server(lan, lan.sign_on_port, [*_sign_on(lan, site), *_lost(lan)], site, tls=True),
        "plain": _server(lan, lan.http_port, _plain(lan, site), site, tls=False),
        "health": {
            "listen": [site.health],
            "automatic_https": {"disable": True},
            "routes": [{"match": [{"path": ["/health"]}], "handle": [_answer(200, "ok")]}],
        },
    }


def _server(lan: LanSettings, port: int, routes: list[Json], site: Site, *, tls: bool) -> Json:
    address = lan.address or ""
    listen = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    return {
        "listen": [listen],
        "automatic_https": {"disable": True},
        "protocols": ["h1", "h2"] if tls else ["h1"],
        "read_header_timeout": _HEADER_S,
        "idle_timeout": _IDLE_S,
        "max_header_bytes": 65536,
        "routes": routes,
        "errors": {"routes": _errors(site)},
        **({"tls_connection_policies": [{}], "strict_sni_host": True} if tls else {}),
    }


def _tls(lan: LanSettings, times: Times) -> Json:
    issuer = {"module": "internal", "ca": "local", "lifetime": times.lifetime}
    return {
        "certificates": {"automate": [lan.host]},
        "automation": {
            "policies": [{"subjects": [lan.host], "issuers": [issuer]}],
            "renew_interval": times.look,
        },
    }


def _pki(lan: LanSettings, site: Site) -> Json:
    authority = {
        "name": f"AI appliance {lan.host}",
        "intermediate_common_name": f"AI appliance {lan.host}, issuing",
        "root": {"certificate": site.root, "private_key": site.key},
        "install_trust": False,
    }
    return {"certificate_authorities": {"local": authority}}


def _page(lan: LanSettings, site: Site) -> list[Json]:
    """The chat page and, beside it, the API."""
    api = _route(["/v1", "/v1/*"], _proxy(site.gateway, "60s", request={"delete": ["Cookie"]}))
    texts = [_text(one) for one in (*site.texts, *(() if site.chat else site.home))]
    rest = _route(None, _answer(404, "There is nothing here.\n"))
    if site.chat:
        texts.append(_too_large(site.largest))
        texts += [_assets(site)] if site.assets else []
        texts.append(_to_sign_on())
        rest = _route(None, _framed(), _limit(site.largest), *_foreign_cookies(), _proxy(site.chat, "3s"))
    return [_host(lan, [api, *texts, rest])]


def _sign_on(lan: LanSettings, site: Site) -> list[Json]:
    return [_host(lan, [_route(None, _proxy(site.identity, "3s"))])]


def _plain(lan: LanSettings, site: Site) -> list[Json]:
    """Without encryption: how to trust the box, and for all else where to go. The host is ours, whatever was asked."""
    onward = {
        "handler": "static_response",
        "status_code": 308,
        "headers": {"Location": [f"{lan.origin}{{http.request.uri}}"], "Cache-Control": ["no-store"]},
    }
    return [*(_text(one) for one in site.texts), {"handle": [_no_name(), onward]}]


def _lost(lan: LanSettings) -> list[Json]:
    """By any name but ours nothing is served: a page of somebody else's may have been made to resolve to us."""
    return [{"handle": [_no_name(), _answer(421, f"This is {lan.host}.\n")]}]


def _to_sign_on() -> Json:
    """Whoever comes without being signed in is sent to sign-on at once.

    The page's programs would do the same, but a browser would have to load and start them all for that, and then again.
    """
    stranger = {
        "method": ["GET"],
        "path": ["/"],
        "expression": "{http.request.uri.query} == ''",
        "not": [{"header_regexp": {"Cookie": {"pattern": r"(?:^|;\s*)token="}}}],
    }
    return {"match": [stranger], "handle": [_answer(302, "", more=_STRANGER)], "terminal": True}


def _assets(site: Site) -> Json:
    """The chat page's programs: hundreds of files for one page, each of which its server takes milliseconds for."""
    always = {"Content-Security-Policy": [site.policy], "Referrer-Policy": ["same-origin"]}
    kept = {"set": {"Cache-Control": [_KEPT]}, "require": {"status_code": [200, 304]}}
    return _route(
        [_ASSETS],
        {"handler": "headers", "response": {"set": always, "deferred": True}},
        # Of one that is missing nobody is to remember for a year that it is.
        {"handler": "headers", "response": kept},
        {"handler": "encode", "encodings": {"zstd": {}, "gzip": {}}, "prefer": ["zstd", "gzip"]},
        {"handler": "file_server", "root": literal(site.assets)},
    )


def _host(lan: LanSettings, routes: list[Json]) -> Json:
    inside = {"handler": "subroute", "routes": routes}
    return {"match": [{"host": [lan.host]}], "handle": [_always(), inside], "terminal": True}


def _route(paths: list[str] | None, *handlers: Json) -> Json:
    match = {"match": [{"path": paths}]} if paths else {}
    return {**match, "handle": list(handlers), "terminal": True}


def _text(one: Text) -> Json:
    """A fixed answer, which needs no process and no file."""
    matcher: Json = {"path": [one.path], "method": ["GET", "HEAD"]}
    if one.language:
        # The first wish counts: pages in the others are one click away.
        matcher["header_regexp"] = {"Accept-Language": {"pattern": f"(?i)^\\s*{one.language}\\b"}}
    headers = {
        "Content-Type": [one.kind],
        "Cache-Control": ["no-store"],
        "Content-Security-Policy": [
            "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ],
        "X-Content-Type-Options": ["nosniff"],
        "Referrer-Policy": ["no-referrer"],
        "Vary": ["Accept-Language"],
    }
    answer = {"handler": "static_response", "status_code": 200, "headers": headers, "body": literal(one.body)}
    return {"match": [matcher], "handle": [_no_name(), answer], "terminal": True}


def literal(text: str) -> str:
    """A text in which Caddy finds no placeholder of its own."""
    return text.replace("{", "\\{")


def _always() -> Json:
    """Headers that every answer carries."""
    always = {"Strict-Transport-Security": [_HSTS], "X-Content-Type-Options": ["nosniff"]}
    return {"handler": "headers", "response": {"set": always, "delete": ["Server"], "deferred": True}}


def _framed() -> Json:
    """Nobody else may show the chat page in a frame. The policy stands beside the page's own, which goes on to hold."""
    said = {"set": {"Referrer-Policy": ["same-origin"]}, "add": {"Content-Security-Policy": ["frame-ancestors 'self'"]}}
    return {"handler": "headers", "response": {**said, "deferred": True}}


def _no_name() -> Json:
    return {"handler": "headers", "response": {"delete": ["Server"], "deferred": True}}


def _too_large(largest: int) -> Json:
    """Say so at once where a request tells its length; for any other the limit cuts it off."""
    length = "{http.request.header.Content-Length}"
    match = {"expression": f"{length}.matches('^[0-9]{{1,18}}$') && int({length}) > {largest}"}
    return {"match": [match], "handle": [_answer(413, "That is too large.\n")], "terminal": True}


def _limit(largest: int) -> Json:
    return {"handler": "request_body", "max_size": largest}


def _foreign_cookies() -> list[Json]:
    """Keep sign-on's cookies from the chat page's server, and that from setting any of them."""
    mine = {"search_regexp": rf"{COOKIES}[^;]*;?\s*", "replace": ""}
    set_by_it = {"search_regexp": rf"(?i)^\s*{COOKIES}.*$", "replace": ""}
    return [
        {"handler": "headers", "request": {"replace": {"Cookie": [mine]}}},
        {"handler": "headers", "response": {"replace": {"Set-Cookie": [set_by_it]}, "deferred": True}},
    ]


def _proxy(upstream: str, kept: str, request: Json | None = None) -> Json:
    """Pass on as it comes, both ways. `kept` is less than the time after which the process closes idle connections.

    Caddy puts the address of the connection into X-Forwarded-For, and throws away what a client says there.
    """
    return {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": upstream}],
        "flush_interval": -1,
        "transport": {
            "protocol": "http",
            "compression": False,
            "dial_timeout": "3s",
            "keep_alive": {"idle_timeout": kept},
            "versions": ["1.1"],
        },
        "load_balancing": {"try_duration": _TRY_S, "try_interval": "250ms"},
        **({"headers": {"request": request}} if request else {}),
    }


def _errors(site: Site) -> list[Json]:
    """When a process does not answer: to a program in the words of the API, to a person in plain ones."""
    program = (
        '{"error": {"message": "The gateway does not answer at the moment.", "type": "server_error", '
        '"param": null, "code": "engine-unavailable"}}'
    )
    later = {"Retry-After": ["5"]}
    away: Json = {"expression": "{http.error.status_code} in [502, 503, 504]"}
    return [
        {
            "match": [{**away, "path": ["/v1", "/v1/*"]}],
            "handle": [_no_name(), _answer(503, literal(program), "application/json", later)],
            "terminal": True,
        },
        {
            "match": [away],
            "handle": [_no_name(), _answer(503, literal(site.away), more=later)],
            "terminal": True,
        },
        {"handle": [_no_name(), _answer("{http.error.status_code}", "{http.error.status_text}\n")]},
    ]


def _answer(status: int | str, body: str, kind: str = "text/plain; charset=utf-8", more: Json | None = None) -> Json:
    headers = {"Content-Type": [kind], "X-Content-Type-Options": ["nosniff"], **(more or {})}
    return {"handler": "static_response", "status_code": status, "headers": headers, "body": body}
