"""People and programs in every state, with everything that they could show at a door."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from joserfc import jwt
from joserfc.jwk import RSAKey
from sqlmodel import Session

from appliance.accounts import chat_secrets, clients, keys, links, people, suspension
from appliance.accounts.sign_on_tables import SignOn as SignOnRow
from appliance.accounts.sign_on_tables import TokenFamily
from appliance.accounts.tables import ApiKey
from appliance.config.paths import Home, find_home
from appliance.identity.keys import KeyRing, read
from appliance.policy.roles import Role
from appliance.store.sessions import session
from tests.support.access import OF_PEOPLE, PEOPLE, Card, Kind, State
from tests.support.sign_on import Browser, Program, SignOn, claims
from tests.support.vouching import registered, voucher

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


@dataclass
class Hands:
    """What everybody holds: `cards` by role, kind and state. `logins` and `browsers` by role and state.

    `words` are headers that a card is shown with.
    """

    sign_on: SignOn
    wiki: Program
    tool: Program
    robot: Program
    chat: Program
    cards: dict[Card, str] = field(default_factory=dict)
    browsers: dict[tuple[Role, State], Browser] = field(default_factory=dict)
    key_ids: dict[tuple[Role, State], str] = field(default_factory=dict)
    words: dict[Card, dict[str, str]] = field(default_factory=dict)

    def headers(self, card: Card) -> dict[str, str]:
        """What is sent by whoever shows a card: it stands where its kind belongs."""
        shown = self.cards[card]
        if card[1] is Kind.COOKIE:
            return {"Cookie": f"appliance-session={shown}"}
        return {**({"Authorization": f"Bearer {shown}"} if shown else {}), **self.words.get(card, {})}

    def email(self, role: Role, state: State) -> str:
        """The address of whoever has a role and is in a state."""
        return f"{login_of(role, state)}@example.com"


def login_of(role: Role, state: State) -> str:
    """The login of whoever has a role and is in a state."""
    return f"{role}-{state}".replace(" ", "-")


def deal(sign_on: SignOn) -> Hands:
    """Give everybody everything, then bring each into their state."""
    redirect = "http://127.0.0.1:9/callback"
    hands = Hands(
        sign_on,
        Program(sign_on, sign_on.client("Wiki", redirects=[redirect])),
        Program(sign_on, sign_on.client("Tool", flows=["device"], public=True)),
        Program(sign_on, sign_on.client("Robot", flows=["service", "device"])),
        registered(sign_on),
    )
    for role in Role:
        for state in OF_PEOPLE:
            _one(hands, role, state)
    _programs(hands)
    with session(sign_on.box.state / "appliance.db", alone=True) as opened:
        for role in Role:
            for state in OF_PEOPLE:
                _bring(hands, opened, role, state)
    key = RSAKey.generate_key(2048)
    for role in PEOPLE:
        _give_back(hands, role)
        for kind in (Kind.BROWSER, Kind.DEVICE, Kind.CHAT):
            hands.cards[role, kind, State.ELSEWHERE] = forged(
                sign_on, hands.cards[role, kind, State.ACTIVE], aud="urn:appliance:elsewhere"
            )
        hands.cards[role, Kind.CHAT, State.FORGED] = forged(
            sign_on, hands.cards[role, Kind.CHAT, State.ACTIVE], key=key
        )
        _vouch(hands, role)
    return hands


def _one(hands: Hands, role: Role, state: State) -> None:
    """An account, its key, its link; and for people a browser, a program and a device that they are signed in to."""
    sign_on, name = hands.sign_on, login_of(role, state)
    sign_on.person(name, role, f"team-{name}")
    with session(sign_on.box.state / "appliance.db", alone=True) as opened:
        row, key = keys.create(opened, name, team=f"team-{name}")
        hands.key_ids[role, state] = row.id
        link = links.make(opened, people.find(opened, name), links.RESET)[1]
    hands.cards[role, Kind.KEY, state] = key
    hands.cards[role, Kind.LINK, state] = link
    if role not in PEOPLE:
        return
    browser = hands.browsers[role, state] = Browser(sign_on)
    assert browser.sign_in(hands.email(role, state)).location == "/"
    said, device, chat = hands.wiki.tokens(browser), let_in(hands.tool, browser), hands.chat.tokens(browser)
    hands.cards |= {
        (role, Kind.BROWSER, state): said["access_token"],
        (role, Kind.ID_TOKEN, state): said["id_token"],
        (role, Kind.REFRESH, state): said["refresh_token"],
        (role, Kind.DEVICE, state): device["access_token"],
        (role, Kind.DEVICE_REFRESH, state): device["refresh_token"],
        (role, Kind.CHAT, state): chat["access_token"],
        (role, Kind.COOKIE, state): browser.cookies["appliance-session"],
    }


def _programs(hands: Hands) -> None:
    """Tokens of programs, one of which is removed."""
    mine = {"grant_type": "client_credentials", "scope": "openid"}
    good = str(hands.robot.token(**mine).json["access_token"])
    about = hands.sign_on.client("Gone", flows=["service"])
    gone = str(Program(hands.sign_on, about).token(**mine).json["access_token"])
    with session(hands.sign_on.box.state / "appliance.db", alone=True) as opened:
        clients.remove(opened, clients.find(opened, "Gone"))
    hands.cards |= {
        (None, Kind.PROGRAM, State.ACTIVE): good,
        (None, Kind.PROGRAM, State.ENDED): gone,
        (None, Kind.PROGRAM, State.EXPIRED): forged(hands.sign_on, good, exp=int(time.time()) - 1),
        (None, Kind.PROGRAM, State.ELSEWHERE): forged(hands.sign_on, good, aud="urn:appliance:elsewhere"),
        (None, Kind.SECRET, State.ACTIVE): hands.robot.about["secret"],
        (None, Kind.NONE, State.ACTIVE): "",
        (None, Kind.GARBAGE, State.ACTIVE): "apl-made-up",
    }


def _bring(hands: Hands, opened: Session, role: Role, state: State) -> None:
    """Bring somebody into their state, as commands and time do."""
    name = login_of(role, state)
    if state is State.SUSPENDED:
        people.disable(opened, people.find(opened, name))
    elif state is State.TEAM:
        suspension.suspend(opened, suspension.TEAM, f"team-{name}")
    elif state is State.REMOVED:
        people.remove(opened, people.find(opened, name))
    elif state is State.EXPIRED:
        _let_expire(hands, opened, role)
    elif state is State.ENDED:
        keys.revoke(opened, opened.get_one(ApiKey, hands.key_ids[role, state]))
        links.use(opened, hands.cards[role, Kind.LINK, state])


def _let_expire(hands: Hands, opened: Session, role: Role) -> None:
    """The time of everything is over."""
    opened.get_one(ApiKey, hands.key_ids[role, State.EXPIRED]).expires_at = 1
    links.find(opened, hands.cards[role, Kind.LINK, State.EXPIRED])[0].expires_at = 1
    if role not in PEOPLE:
        return
    for kind in (Kind.BROWSER, Kind.DEVICE, Kind.CHAT):
        token = hands.cards[role, kind, State.EXPIRED]
        said = claims(token)
        opened.get_one(TokenFamily, said["family"]).expires_at = 1
        if "sid" in said:
            opened.get_one(SignOnRow, said["sid"]).expires_at = 1
        hands.cards[role, kind, State.EXPIRED] = forged(hands.sign_on, token, exp=int(time.time()) - 1)


def _give_back(hands: Hands, role: Role) -> None:
    """Tokens are given back by the programs that hold them, and the browser signs out."""
    for program, kind in ((hands.wiki, Kind.BROWSER), (hands.tool, Kind.DEVICE), (hands.chat, Kind.CHAT)):
        sent = {"token": hands.cards[role, kind, State.ENDED], "client_id": program.about["id"]}
        secret = {"client_secret": program.about["secret"]} if program.about["secret"] else {}
        assert hands.sign_on.ask("POST", "/revoke", sent | secret).status == 200
    browser = hands.browsers[role, State.ENDED]
    assert browser.fill(browser.get("/"), "/sign-out", decision="yes").status == 200


def _vouch(hands: Hands, role: Role) -> None:
    """The chat page's own key, with its word for whoever has a role and is in a state, or with one that is not good."""
    known = chat_secrets.ensure(find_home(hands.sign_on.box.config, hands.sign_on.box.state))
    now, email = int(time.time()), hands.email(role, State.ACTIVE)
    other = replace(known, user_header=known.client)
    words = {state: voucher(known, hands.email(role, state), exp=now + 3600) for state in OF_PEOPLE}
    words |= {
        State.EXPIRED: voucher(known, email, exp=now - 1),
        State.ELSEWHERE: voucher(known, email, iss="another-page"),
        State.FORGED: voucher(other, email, exp=now + 3600),
        State.PROXY: {**words[State.ACTIVE], "X-Forwarded-For": "192.168.1.7"},
    }
    for state, word in words.items():
        hands.cards[role, Kind.PAGE, state] = known.service_key
        hands.words[role, Kind.PAGE, state] = word


def let_in(tool: Program, browser: Browser) -> dict[str, Any]:
    """The tokens of a device that whoever is signed in with a browser lets in."""
    sent = {"client_id": tool.about["id"], "scope": "openid profile email"}
    shown = tool.sign_on.ask("POST", "/device-authorization", sent).json
    asked = browser.fill(browser.get("/device"), "/device", code=shown["user_code"])
    browser.fill(asked, "/device", decision="allow")
    return dict(tool.token(grant_type=DEVICE_GRANT, device_code=shown["device_code"]).json)


def ring(sign_on: SignOn) -> KeyRing:
    """The keys that sign-on signs with."""
    home = find_home(sign_on.box.config, sign_on.box.state)
    return _ring(home, home.signing_keys.stat().st_mtime_ns)


@lru_cache
def _ring(home: Home, _: int) -> KeyRing:
    return KeyRing(read(home))


def forged(sign_on: SignOn, good: str, header: dict[str, Any] | None = None, key: Any = None, **changed: Any) -> str:
    """A token like a good one, but for its header, some claims, or the key that it is signed with."""
    keys = ring(sign_on)
    head = {"alg": "RS256", "typ": "at+jwt", "kid": keys.kid, **(header or {})}
    return jwt.encode(head, claims(good) | changed, key or keys.active, algorithms=[head["alg"]])


def link(sign_on: SignOn, login: str, purpose: str = links.INVITE) -> str:
    """A one-time link's path; without a login, for the owner to be."""
    with session(sign_on.box.state / "appliance.db", alone=True) as opened:
        whose = people.find(opened, login) if login else None
        return links.PATH + links.make(opened, whose, purpose)[1]


def role_of(sign_on: SignOn, email: str) -> str:
    """What somebody is; empty for nobody."""
    with session(sign_on.box.state / "appliance.db") as opened:
        found = people.by_email(opened, email)
        return "" if found is None else found.role


def signed_in(sign_on: SignOn, login: str = "anna") -> Browser:
    """A browser of somebody's, signed in."""
    browser = Browser(sign_on)
    assert browser.sign_in(f"{login}@example.com").location == "/"
    return browser
