"""The HTTP face of sign-on: its addresses, who may call them, and how a request becomes an answer.

Handlers are ordinary functions that may wait for the disk, so each runs on a thread; those that prove passwords have
threads of their own, lest fifty people who sign in at once stand in the way of tokens. So have those that ask another
provider, which may be slow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial

from appliance.accounts.clients import INSIDE
from appliance.errors import ApplianceError
from appliance.http.asgi import Receive, Request, Scope, Send, respond
from appliance.http.dialects import OAUTH, OPENAI
from appliance.http.errors import respond_error
from appliance.http.routes import Access, Route, Router
from appliance.identity import (
    account,
    authenticator,
    devices,
    federated,
    language,
    links,
    passkeys,
    protocol,
    sign_in,
    sign_out,
)
from appliance.identity.asked import Answer
from appliance.identity.browser import Visit, language_of, visit_of
from appliance.identity.services import Services

Handler = Callable[[Services, Visit], Answer]


@dataclass(frozen=True, slots=True)
class Threads:
    """Where handlers run: most of them, those that prove passwords, and those that wait for other providers."""

    usual: Executor
    slow: Executor
    away: Executor


def routes(services: Services, threads: Threads) -> tuple[Route, ...]:
    """Every address of sign-on."""

    def program(method: str, path: str, access: Access, handler: Handler) -> Route:
        run = partial(_to_program, services, threads.usual, handler)
        return Route(method, path, access, run, about=_first_line(handler), dialect=OAUTH)

    def page(method: str, path: str, access: Access, handler: Handler, on: Executor = threads.usual) -> Route:
        return Route(method, path, access, partial(_to_person, services, on, handler), about=_first_line(handler))

    return (
        program("GET", "/health", Access.ANYBODY, health),
        program("GET", "/.well-known/openid-configuration", Access.ANYBODY, protocol.discovery),
        program("GET", "/.well-known/oauth-authorization-server", Access.ANYBODY, protocol.discovery),
        program("GET", INSIDE, Access.ANYBODY, protocol.discovery_inside),
        program("GET", "/jwks", Access.ANYBODY, protocol.jwks),
        program("POST", "/token", Access.CLIENT, protocol.token),
        program("POST", "/revoke", Access.CLIENT, protocol.revoke),
        program("POST", "/introspect", Access.CLIENT, protocol.introspect),
        program("POST", "/device-authorization", Access.CLIENT, protocol.device_authorization),
        program("GET", "/userinfo", Access.BEARER, protocol.userinfo),
        program("POST", "/userinfo", Access.BEARER, protocol.userinfo),
        page("GET", "/authorize", Access.ANYBODY, protocol.authorize),
        page("POST", "/authorize", Access.ANYBODY, protocol.authorize),
        page("GET", "/", Access.SIGNED_IN, sign_out.home),
        page("GET", "/sign-in", Access.ANYBODY, sign_in.page),
        page("POST", "/sign-in", Access.ANYBODY, sign_in.sign_in, threads.slow),
        page("GET", "/sign-in/with/{id}", Access.ANYBODY, federated.away, threads.away),
        page("GET", "/sign-in/from/{id}", Access.ANYBODY, federated.back, threads.away),
        page("GET", "/sign-out", Access.ANYBODY, sign_out.sign_out),
        page("POST", "/sign-out", Access.ANYBODY, sign_out.sign_out),
        page("POST", "/language", Access.ANYBODY, language.choose),
        page("GET", "/account", Access.SIGNED_IN, account.page),
        page("POST", "/account/password", Access.SIGNED_IN, account.change_password, threads.slow),
        page("POST", "/account/sign-out-others", Access.SIGNED_IN, account.sign_out_others),
        page("GET", "/account/authenticator", Access.SIGNED_IN, authenticator.page),
        page("POST", "/account/authenticator", Access.SIGNED_IN, authenticator.set_up),
        page("POST", "/account/authenticator/remove", Access.SIGNED_IN, authenticator.remove),
        page("POST", "/account/recovery-codes", Access.SIGNED_IN, authenticator.renew_codes),
        page("GET", "/account/passkey", Access.SIGNED_IN, passkeys.page),
        page("POST", "/account/passkey", Access.SIGNED_IN, passkeys.add),
        page("POST", "/account/passkey/remove", Access.SIGNED_IN, passkeys.remove),
        page("POST", "/sign-in/passkey", Access.ANYBODY, passkeys.sign_in),
        page("GET", "/passkeys.js", Access.ANYBODY, script),
        page("GET", "/device", Access.SIGNED_IN, devices.page),
        page("POST", "/device", Access.SIGNED_IN, devices.decide),
        page("GET", "/welcome/{id}", Access.ANYBODY, links.page),
        page("POST", "/welcome/{id}", Access.ANYBODY, links.choose, threads.slow),
        page("GET", "/style.css", Access.ANYBODY, style),
    )


def health(services: Services, visit: Visit) -> Answer:
    """Whether sign-on runs."""
    return Answer(200, b'{"status":"ok"}', (("Content-Type", "application/json"),))


def style(services: Services, visit: Visit) -> Answer:
    """The look of the pages."""
    return services.pages.style()


def script(services: Services, visit: Visit) -> Answer:
    """What asks a browser for a passkey."""
    return services.pages.script()


class Application:
    """The ASGI application."""

    def __init__(self, services: Services, threads: Threads) -> None:
        table = routes(services, threads)
        self._router = Router(table, answer=partial(_refuse, services), doors=services.home.maintenance)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; the server's own start and end are the business of whoever runs it."""
        assert scope["type"] == "http"
        await self._router(scope, receive, send)


async def _to_program(services: Services, threads: Executor, handler: Handler, request: Request, send: Send) -> None:
    visit = await visit_of(request, services.issuer, own_proxy=services.own_proxy)
    await _send(send, request, await _run(threads, handler, services, visit))


async def _to_person(services: Services, threads: Executor, handler: Handler, request: Request, send: Send) -> None:
    visit = await visit_of(request, services.issuer, own_proxy=services.own_proxy)
    answered = await _run(threads, handler, services, visit)
    request.told += visit.told
    await _send(send, request, answered)


async def _run(threads: Executor, handler: Handler, services: Services, visit: Visit) -> Answer:
    return await asyncio.get_running_loop().run_in_executor(threads, handler, services, visit)


async def _send(send: Send, request: Request, answered: Answer) -> None:
    kinds = [value for name, value in answered.headers if name.lower() == "content-type"]
    extra = [
        (name.lower().encode(), value.encode()) for name, value in answered.headers if name.lower() != "content-type"
    ]
    kind = kinds[0] if kinds else "text/plain; charset=utf-8"
    await respond(send, request, answered.status, answered.body, kind.encode(), extra)


async def _refuse(services: Services, send: Send, request: Request, error: ApplianceError) -> None:
    """Answer with an error: to a program as the protocol has it, to a person as a page."""
    if request.dialect is not OPENAI:
        await respond_error(send, request, error)
        return
    wish = language_of(request, services.issuer)
    spoken = services.pages.language(request.header(b"accept-language") or "", wish)
    say = services.pages.say(spoken)
    word = _WORDS.get(error.code, "problem_other")
    # What a program did wrong, or the number of a request, helps whoever looks after the appliance.
    detail = error.sentence if word == "problem_program" else request.id if word == "problem_other" else ""
    shown = services.pages.page(
        "message", spoken, error.kind.http or 500, title=say["problem"], text=say[word], detail=detail, again=False
    )
    await _send(send, request, replace(shown, headers=(*shown.headers, *_headers(error))))


_WORDS = {
    "program-refused": "problem_program",
    "updating": "problem_update",
    "suspended": "switched_off",
    "form-not-ours": "problem_form",
    "form-not-understood": "problem_form",
    "field-bad-value": "problem_form",
    "route-not-found": "problem_missing",
    "method-not-allowed": "problem_missing",
}


def _headers(error: ApplianceError) -> list[tuple[str, str]]:
    headers = [(name.decode(), value.decode()) for name, value in error.headers]
    return headers if error.retry_after_s is None else [*headers, ("retry-after", str(error.retry_after_s))]


def _first_line(handler: Handler) -> str:
    return (handler.__doc__ or "").strip().partition("\n")[0]
