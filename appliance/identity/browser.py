"""What a browser sends and is told to keep: cookies, forms that are really ours, the language, where to go on."""

from __future__ import annotations

import hmac
import re
import secrets
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, urlsplit

from appliance.accounts.api_keys import digest
from appliance.errors import ApplianceError
from appliance.http.asgi import Header, Request
from appliance.identity.asked import Asked, fields
from appliance.identity.journeys import LONGEST_S
from appliance.identity.throttle import network_of

SESSION, DEVICE, FORM, AWAY, LANGUAGE = "session", "device", "form", "away", "language"
_DEVICE_S: Final = 400 * 86_400
_LARGEST_FORM: Final = 64 * 1024
_FORM_TYPE: Final = "application/x-www-form-urlencoded"
# Where people may be sent after they have signed in: pages of ours, and nothing that a browser takes for a host.
_ONWARD: Final = re.compile(r"/(authorize\?[!-~]*|device(\?[!-~]*)?|account(/authenticator|/passkey(\?then=chat)?)?)")
_LONGEST: Final = 4096


@dataclass(slots=True)
class Visit:
    """One request of a browser or a program, read to its end. `told` are cookies that its answer sets."""

    asked: Asked
    cookies: dict[str, str]
    languages: str
    network: str
    peer: str
    is_ours: bool
    told: list[Header] = field(default_factory=list)

    def field(self, name: str) -> str:
        """A field of the form; empty where it is missing."""
        return self.asked.form.get(name, "")

    def argument(self, name: str) -> str:
        """A field of the address; empty where it is missing."""
        return self.asked.args.get(name, "")


async def visit_of(request: Request, issuer: str, *, own_proxy: bool = False) -> Visit:
    """Read a request; `own_proxy` is whether the proxy is ours, so that it comes by our socket alone.

    Raises body-too-large, form-not-understood, field-bad-value or key-refused.
    """
    scope = request.scope
    form: dict[str, list[str]] = {}
    if scope["method"] == "POST":
        body = await request.body(_LARGEST_FORM)
        kind = (request.header(b"content-type") or "").partition(";")[0].strip().lower()
        if body and kind != _FORM_TYPE:
            raise ApplianceError(
                "form-not-understood", "The request is no form that a browser sends.", f"Send it as {_FORM_TYPE}."
            )
        form = fields(body.decode("utf-8", "replace"))
    authorization = request.credential()
    asked = Asked(
        scope["method"],
        issuer + scope["path"],
        fields(scope["query_string"].decode("latin-1")),
        form,
        {} if authorization is None else {"Authorization": authorization},
    )
    return Visit(
        asked=asked,
        cookies=_cookies(request.header(b"cookie") or ""),
        languages=request.header(b"accept-language") or "",
        network=network_of(_address(request, issuer, own_proxy)),
        peer=_address(request, issuer, own_proxy) or "",
        is_ours=_is_ours(request, issuer),
    )


def name_of(cookie: str, issuer: str) -> str:
    """A cookie's whole name: with https, one that no other host of the company can set."""
    return f"{'__Host-' if issuer.startswith('https:') else ''}appliance-{cookie}"


def keep(visit: Visit, issuer: str, cookie: str, value: str) -> None:
    """Have the browser keep a cookie; forget it where the value is empty."""
    ages = dict.fromkeys((DEVICE, LANGUAGE), f"; Max-Age={_DEVICE_S}") | {AWAY: f"; Max-Age={LONGEST_S}"}
    age = ages.get(cookie, "") if value else "; Max-Age=0"
    secure = "; Secure" if issuer.startswith("https:") else ""
    text = f"{name_of(cookie, issuer)}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{age}"
    visit.told.append((b"set-cookie", text.encode()))


def kept(visit: Visit, issuer: str, cookie: str) -> str:
    """A cookie's value; empty where there is none."""
    return visit.cookies.get(name_of(cookie, issuer), "")


def language_of(request: Request, issuer: str) -> str:
    """The language that somebody has chosen in a browser; empty where they have not, and whatever a browser sends."""
    return _cookies(request.header(b"cookie") or "").get(name_of(LANGUAGE, issuer), "")


def form_token(visit: Visit, issuer: str) -> str:
    """What a form carries so that it is known to be ours: it goes with a cookie that other pages cannot read."""
    known = kept(visit, issuer, FORM)
    if not known:
        known = secrets.token_urlsafe(16)
        visit.cookies[name_of(FORM, issuer)] = known
        keep(visit, issuer, FORM, known)
    return digest(known)


def check_form(visit: Visit, issuer: str) -> None:
    """Raises form-not-ours unless the form was on a page of ours, in this browser."""
    known = kept(visit, issuer, FORM)
    said = visit.field("token").encode("utf-8", "surrogatepass")
    if not visit.is_ours or not known or not hmac.compare_digest(digest(known).encode(), said):
        raise ApplianceError(
            "form-not-ours", "This form is too old, or was not on a page of ours.", "Open the page again."
        )


def onward(text: str) -> str:
    """Where to go on after signing in; empty for whatever is none of our own pages."""
    return text if len(text) <= _LONGEST and _ONWARD.fullmatch(text) else ""


def sign_in_at(to: str) -> str:
    """The address of the sign-in page that goes on to another page of ours."""
    return f"/sign-in?to={quote(to, safe='')}"


def origin_of(address: str) -> str:
    """Scheme, host and port of an address, as browsers compare them; empty where it has none."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in ("http", "https") and parts.netloc else ""


def _cookies(header: str) -> dict[str, str]:
    """All cookies by name. Those of other programs on this host may be of any form, and are in nobody's way."""
    pairs = (one.partition("=") for one in header.split(";"))
    return {name.strip(): value.strip() for name, _, value in pairs}


def _address(request: Request, issuer: str, own_proxy: bool) -> str | None:
    """Whose request it is. With https some proxy stands in front on this machine, and says so at the end."""
    if request.by_proxy or own_proxy:
        return request.peer
    said = request.header(b"x-forwarded-for")
    if issuer.startswith("https:") and said and request.peer in ("127.0.0.1", "::1"):
        return said.rpartition(",")[2].strip()
    return request.peer


def _is_ours(request: Request, issuer: str) -> bool:
    """Whether a browser says that a request comes from a page of ours, or is no browser and says nothing."""
    origin, site = request.header(b"origin"), request.header(b"sec-fetch-site")
    return origin in (None, origin_of(issuer)) and site in (None, "same-origin", "none")
