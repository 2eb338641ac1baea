"""Who gets in where: the whole table of it, written a second time for the tests that walk it.

A route, a role, a kind of credential or a command that is not here makes a test fail, so whoever adds one says here who
may use it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from appliance.policy.roles import Permission, Role


class Kind(StrEnum):
    """What somebody shows at a door."""

    KEY = "API key"
    BROWSER = "access token, by browser"
    DEVICE = "access token, of a device"
    CHAT = "access token, by the chat page"
    PAGE = "the chat page's key and its word"
    PROGRAM = "access token, of a program"
    COOKIE = "session cookie"
    ID_TOKEN = "id token"
    REFRESH = "refresh token"
    DEVICE_REFRESH = "refresh token, of a device"
    PASSWORD = "password"
    LINK = "one-time link"
    SECRET = "client secret"
    NONE = "nothing"
    GARBAGE = "something made up"


class State(StrEnum):
    """How it is with whoever shows it, or with what is shown.

    `ENDED` is revoked, given back, signed out or used; `ELSEWHERE` is signed by us for somebody else than the gateway;
    `FORGED` is signed by somebody else; `PROXY` is shown from another machine, by a proxy on this one.
    """

    ACTIVE = "active"
    SUSPENDED = "suspended"
    TEAM = "team suspended"
    REMOVED = "removed"
    EXPIRED = "expired"
    ENDED = "ended"
    ELSEWHERE = "other audience"
    FORGED = "other signature"
    PROXY = "by a proxy"


class Door(StrEnum):
    """What a route wants to see."""

    OPEN = "nothing"
    KEY = "a credential for the gateway"
    CLIENT = "a program that is registered"
    BEARER = "an access token of a person"
    SIGNED_IN = "a browser that is signed in"


# Who is a person that signs in, and who only asks by key.
PEOPLE: Final = (Role.OWNER, Role.ADMIN, Role.AUDITOR, Role.STAFF)
# States that a person can be in, with all that they have.
OF_PEOPLE: Final = (State.ACTIVE, State.SUSPENDED, State.TEAM, State.REMOVED, State.EXPIRED, State.ENDED)

# Every route of the gateway: what it wants, and what is said to whoever is let in and has nothing at hand.
GATEWAY: Final[dict[str, tuple[Door, str]]] = {
    "POST /v1/chat/completions": (Door.KEY, ""),
    "POST /v1/chat/completions/input_tokens": (Door.KEY, ""),
    "POST /v1/completions": (Door.KEY, ""),
    "POST /v1/responses": (Door.KEY, ""),
    "POST /v1/responses/input_tokens": (Door.KEY, ""),
    "POST /v1/messages": (Door.KEY, ""),
    "POST /v1/messages/count_tokens": (Door.KEY, ""),
    "POST /v1/embeddings": (Door.KEY, ""),
    "POST /v1/rerank": (Door.KEY, ""),
    "GET /v1/models": (Door.KEY, ""),
    "GET /v1/models/{id}": (Door.KEY, ""),
    "GET /metrics": (Door.KEY, ""),
    "POST /v1/files": (Door.KEY, "form-unreadable"),
    "GET /v1/files": (Door.KEY, ""),
    "GET /v1/files/{id}": (Door.KEY, "file-not-found"),
    "DELETE /v1/files/{id}": (Door.KEY, "file-not-found"),
    "GET /v1/files/{id}/content": (Door.KEY, "file-not-found"),
    "POST /v1/batches": (Door.KEY, "field-missing"),
    "GET /v1/batches": (Door.KEY, ""),
    "GET /v1/batches/{id}": (Door.KEY, "batch-not-found"),
    "POST /v1/batches/{id}/cancel": (Door.KEY, "batch-not-found"),
    "GET /health": (Door.OPEN, ""),
    "GET /ready": (Door.OPEN, ""),
    "GET /openapi.json": (Door.OPEN, ""),
}

# Every route of sign-on, and what it wants. What a form wants besides is a token of its own page.
SIGN_ON: Final[dict[str, Door]] = {
    "GET /health": Door.OPEN,
    "GET /.well-known/openid-configuration": Door.OPEN,
    "GET /.well-known/oauth-authorization-server": Door.OPEN,
    "GET /inside/openid-configuration": Door.OPEN,
    "GET /jwks": Door.OPEN,
    "POST /token": Door.CLIENT,
    "POST /revoke": Door.CLIENT,
    "POST /introspect": Door.CLIENT,
    "POST /device-authorization": Door.CLIENT,
    "GET /userinfo": Door.BEARER,
    "POST /userinfo": Door.BEARER,
    "GET /authorize": Door.OPEN,
    "POST /authorize": Door.OPEN,
    "GET /": Door.SIGNED_IN,
    "GET /sign-in": Door.OPEN,
    "POST /sign-in": Door.OPEN,
    "GET /sign-in/with/{id}": Door.OPEN,
    "GET /sign-in/from/{id}": Door.OPEN,
    "GET /sign-out": Door.OPEN,
    "POST /sign-out": Door.OPEN,
    "POST /language": Door.OPEN,
    "GET /account": Door.SIGNED_IN,
    "POST /account/password": Door.SIGNED_IN,
    "POST /account/sign-out-others": Door.SIGNED_IN,
    "GET /account/authenticator": Door.SIGNED_IN,
    "POST /account/authenticator": Door.SIGNED_IN,
    "POST /account/authenticator/remove": Door.SIGNED_IN,
    "POST /account/recovery-codes": Door.SIGNED_IN,
    "GET /account/passkey": Door.SIGNED_IN,
    "POST /account/passkey": Door.SIGNED_IN,
    "POST /account/passkey/remove": Door.SIGNED_IN,
    "POST /sign-in/passkey": Door.OPEN,
    "GET /passkeys.js": Door.OPEN,
    "GET /device": Door.SIGNED_IN,
    "POST /device": Door.SIGNED_IN,
    "GET /welcome/{id}": Door.OPEN,
    "POST /welcome/{id}": Door.OPEN,
    "GET /style.css": Door.OPEN,
}

_GONE: Final = "key-refused"
# At every door of the gateway, whatever the role: the code with which it is refused, empty for who is let in.
AT_GATEWAY: Final[dict[tuple[Kind, State], str]] = {
    (Kind.KEY, State.ACTIVE): "",
    (Kind.KEY, State.SUSPENDED): "suspended",
    (Kind.KEY, State.TEAM): "suspended",
    (Kind.KEY, State.REMOVED): _GONE,
    (Kind.KEY, State.EXPIRED): "key-expired",
    (Kind.KEY, State.ENDED): _GONE,
    **{
        (kind, state): code
        for kind in (Kind.BROWSER, Kind.DEVICE, Kind.CHAT)
        for state, code in {
            State.ACTIVE: "",
            State.SUSPENDED: _GONE,
            State.TEAM: _GONE,
            State.REMOVED: _GONE,
            State.EXPIRED: "key-expired",
            State.ENDED: _GONE,
            State.ELSEWHERE: _GONE,
        }.items()
    },
    (Kind.CHAT, State.FORGED): _GONE,
    # Whom it asks for is somebody with an account, or not; whether they are signed in just now is not asked.
    (Kind.PAGE, State.ACTIVE): "",
    (Kind.PAGE, State.SUSPENDED): "suspended",
    (Kind.PAGE, State.TEAM): "suspended",
    (Kind.PAGE, State.REMOVED): _GONE,
    (Kind.PAGE, State.EXPIRED): _GONE,
    (Kind.PAGE, State.ENDED): "",
    (Kind.PAGE, State.ELSEWHERE): _GONE,
    (Kind.PAGE, State.FORGED): _GONE,
    (Kind.PAGE, State.PROXY): _GONE,
    (Kind.PROGRAM, State.ACTIVE): "",
    (Kind.PROGRAM, State.EXPIRED): "key-expired",
    (Kind.PROGRAM, State.ENDED): _GONE,
    (Kind.PROGRAM, State.ELSEWHERE): _GONE,
    (Kind.COOKIE, State.ACTIVE): "key-missing",
    (Kind.ID_TOKEN, State.ACTIVE): _GONE,
    (Kind.REFRESH, State.ACTIVE): _GONE,
    (Kind.SECRET, State.ACTIVE): _GONE,
    (Kind.NONE, State.ACTIVE): "key-missing",
    (Kind.GARBAGE, State.ACTIVE): _GONE,
}
# What is good at some of the gateway's doors only: at all others it is refused, whoever shows it.
ONLY_AT: Final = {Kind.PAGE: frozenset({"POST /v1/embeddings", "POST /v1/rerank"})}
# These are not of a person, so no role has them.
OF_NOBODY: Final = frozenset({Kind.PROGRAM, Kind.SECRET, Kind.NONE, Kind.GARBAGE})

Card = tuple[Role | None, Kind, State]


def roles_of(kind: Kind) -> tuple[Role | None, ...]:
    """Who can have a kind of credential."""
    if kind in OF_NOBODY:
        return (None,)
    return tuple(Role) if kind is Kind.KEY else PEOPLE


def at_gateway(card: Card) -> dict[str, str]:
    """What every route of the gateway says to a card, by its code; empty where it answers."""
    refusal, good_at = AT_GATEWAY[card[1:]], ONLY_AT.get(card[1], frozenset(GATEWAY))
    return {
        name: "" if door is Door.OPEN else _GONE if name not in good_at else refusal or code
        for name, (door, code) in GATEWAY.items()
    }


CARDS: list[Card] = [(role, kind, state) for kind, state in AT_GATEWAY for role in roles_of(kind)]

# What somebody's own is good for in sign-on, while they are active. In every other state, for nothing.
GOOD_FOR: Final[dict[Kind, frozenset[Door]]] = {
    Kind.KEY: frozenset(),
    Kind.BROWSER: frozenset({Door.BEARER}),
    Kind.DEVICE: frozenset({Door.BEARER}),
    Kind.CHAT: frozenset({Door.BEARER}),
    Kind.PAGE: frozenset(),
    Kind.PROGRAM: frozenset(),
    Kind.COOKIE: frozenset({Door.SIGNED_IN}),
    Kind.ID_TOKEN: frozenset(),
    Kind.REFRESH: frozenset(),
    Kind.SECRET: frozenset(),
    Kind.NONE: frozenset(),
    Kind.GARBAGE: frozenset(),
}

# What the sign-in form says to the right password of somebody in a state: its words by their name, empty for a welcome.
AT_THE_FORM: Final[dict[State, str]] = {
    State.ACTIVE: "",
    State.SUSPENDED: "switched_off",
    State.TEAM: "switched_off",
    State.REMOVED: "wrong",
    State.EXPIRED: "",
    State.ENDED: "",
}

# What every command is an act of, so that whoever offers it on a page asks the same permission. `None` is for what
# only this machine's own commands do: running the appliance, and looking at the machine.
COMMANDS: Final[dict[str, Permission | None]] = {
    "up": None,
    "down": None,
    "serve": None,
    "identity": None,
    "status": None,
    "logs": None,
    "doctor": None,
    "secrets list": Permission.SETTINGS_READ,
    "secrets rotate": Permission.SETTINGS_WRITE,
    "report": None,
    "hardware": None,
    "engine build": None,
    "chat-page install": None,
    "ca show": None,
    "ca export": None,
    "backup set-up": Permission.SETTINGS_WRITE,
    "backup create": Permission.BACKUP,
    "backup list": Permission.SETTINGS_READ,
    "backup verify": Permission.SETTINGS_READ,
    "backup drill": Permission.BACKUP,
    "backup export": Permission.BACKUP,
    "backup schedule": Permission.SETTINGS_WRITE,
    "restore": Permission.RESTORE,
    # Another version of the code is a matter of the machine.
    "update check": None,
    "update apply": None,
    "update rollback": None,
    "update history": None,
    "update new-key": None,
    "update make": None,
    "update sign": None,
    # Whoever sits at the machine, before there is anybody.
    "users owner-link": None,
    "chat": Permission.API,
    "users list": Permission.PEOPLE_READ,
    "users show": Permission.PEOPLE_READ,
    "users unlink": Permission.PEOPLE_WRITE,
    "sign-in check": Permission.SETTINGS_READ,
    "users add": Permission.PEOPLE_WRITE,
    "users invite": Permission.PEOPLE_WRITE,
    "users reset": Permission.PEOPLE_WRITE,
    "users role": Permission.PEOPLE_WRITE,
    "users disable": Permission.PEOPLE_WRITE,
    "users enable": Permission.PEOPLE_WRITE,
    "users remove": Permission.PEOPLE_WRITE,
    "users import": Permission.PEOPLE_WRITE,
    "groups list": Permission.PEOPLE_READ,
    "groups add": Permission.PEOPLE_WRITE,
    "groups join": Permission.PEOPLE_WRITE,
    "groups leave": Permission.PEOPLE_WRITE,
    "groups remove": Permission.PEOPLE_WRITE,
    "keys list": Permission.KEYS_READ,
    "keys create": Permission.KEYS_WRITE,
    "keys rotate": Permission.KEYS_WRITE,
    "keys revoke": Permission.KEYS_WRITE,
    "keys suspend": Permission.PEOPLE_WRITE,
    "keys resume": Permission.PEOPLE_WRITE,
    "clients list": Permission.SETTINGS_READ,
    "clients add": Permission.CLIENTS_WRITE,
    "clients remove": Permission.CLIENTS_WRITE,
    "clients rotate-keys": Permission.CLIENTS_WRITE,
    "budgets list": Permission.BUDGETS_READ,
    "budgets set": Permission.BUDGETS_WRITE,
    "budgets remove": Permission.BUDGETS_WRITE,
    "usage": Permission.USAGE_READ,
    "batches list": Permission.USAGE_READ,
    "batches cancel": Permission.MODELS_WRITE,
    "audit tail": Permission.AUDIT_READ,
    "audit verify": Permission.AUDIT_READ,
    "audit export": Permission.AUDIT_READ,
    "audit restart": Permission.RESTORE,
    "cloud status": Permission.SETTINGS_READ,
    "cloud on": Permission.SETTINGS_WRITE,
    "cloud off": Permission.SETTINGS_WRITE,
    "cloud key": Permission.SETTINGS_WRITE,
    "models list": Permission.SETTINGS_READ,
    "models show": Permission.SETTINGS_READ,
    "models plan": Permission.SETTINGS_READ,
    "models fit": Permission.SETTINGS_READ,
    "models verify": Permission.SETTINGS_READ,
    "models pull": Permission.MODELS_WRITE,
    "models prove": Permission.MODELS_WRITE,
    "models tune": Permission.MODELS_WRITE,
    "models use": Permission.MODELS_WRITE,
    "models rm": Permission.MODELS_WRITE,
    "models gc": Permission.MODELS_WRITE,
}

# Who may run what, by the kind of permission: a third way of writing `policy.roles.TABLE`, in words of commands.
READS: Final = frozenset({Role.OWNER, Role.ADMIN, Role.AUDITOR})
CHANGES: Final = frozenset({Role.OWNER, Role.ADMIN})
