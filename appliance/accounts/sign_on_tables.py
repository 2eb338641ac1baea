"""The tables of sign-on: which programs people sign in to, who is signed in where, and what tokens stand for it.

All times are microseconds since 1970 UTC. Whatever is a secret is stored as its SHA-256 in hex, as `digest`. Only ends
are written into rows: what has ended is kept until it would have expired anyway, so that a second use of it is noticed.
"""

from __future__ import annotations

from sqlmodel import BigInteger, Field, SQLModel


class Client(SQLModel, table=True):
    """A program that people sign in to. `digest` is of its secret, empty for one that can keep none.

    `redirects` and `logout_redirects` are the exact addresses that people may be sent back to, with blanks between;
    `backchannel` is the address that is told when somebody signs out, empty for none. `flows` are the ways in which
    it may get tokens, of `accounts.clients.FLOWS`.
    """

    __tablename__ = "client"

    id: str = Field(primary_key=True)
    name: str = Field(unique=True)
    digest: str
    redirects: str
    logout_redirects: str
    backchannel: str
    flows: str
    created_at: int = Field(sa_type=BigInteger)


class SignOn(SQLModel, table=True):
    """One person signed in with one browser. `id` is public (`sid` in tokens), `digest` is of the browser's cookie.

    `means` says how they proved who they are: `pwd`, or `pwd otp`.
    """

    __tablename__ = "sign_on"

    id: str = Field(primary_key=True)
    digest: str = Field(unique=True)
    person_id: str = Field(foreign_key="person.id", index=True)
    means: str
    began_at: int = Field(sa_type=BigInteger)
    expires_at: int = Field(sa_type=BigInteger)
    ended_at: int | None = Field(default=None, sa_type=BigInteger)


class KnownDevice(SQLModel, table=True):
    """A browser in which somebody has signed in before. `digest` is of the cookie by which it is known again."""

    __tablename__ = "known_device"

    digest: str = Field(primary_key=True)
    person_id: str = Field(primary_key=True, foreign_key="person.id", index=True)
    seen_at: int = Field(sa_type=BigInteger)


class AuthorizationCode(SQLModel, table=True):
    """What a browser carries to a client, to be exchanged for tokens once.

    `challenge` is PKCE's, by S256. `family_id` is what it was exchanged for, empty while it was not.
    """

    __tablename__ = "authorization_code"

    digest: str = Field(primary_key=True)
    client_id: str
    person_id: str = Field(foreign_key="person.id", index=True)
    sign_on_id: str
    redirect: str
    scope: str
    nonce: str
    challenge: str
    family_id: str
    expires_at: int = Field(sa_type=BigInteger, index=True)


class TokenFamily(SQLModel, table=True):
    """All tokens that came of one sign-in to one client. When it has ended, none of them is good any more.

    Without a person it is the client's own. `why` says what ended it.
    """

    __tablename__ = "token_family"

    id: str = Field(primary_key=True)
    client_id: str = Field(index=True)
    person_id: str | None = Field(default=None, foreign_key="person.id", index=True)
    sign_on_id: str = Field(index=True)
    scope: str
    began_at: int = Field(sa_type=BigInteger)
    expires_at: int = Field(sa_type=BigInteger, index=True)
    ended_at: int | None = Field(default=None, sa_type=BigInteger)
    why: str


class RefreshToken(SQLModel, table=True):
    """A token that gets new ones, once. One that was used and comes again was stolen from somebody."""

    __tablename__ = "refresh_token"

    digest: str = Field(primary_key=True)
    family_id: str = Field(foreign_key="token_family.id", index=True)
    used_at: int | None = Field(default=None, sa_type=BigInteger)


class DeviceGrant(SQLModel, table=True):
    """A device without a browser that asks to be let in. `digest` is of its own code, `user_code` is what people type.

    `state` is `asked`, `allowed`, `refused` or `taken`. `interval` in seconds is how long it waits between two looks.
    """

    __tablename__ = "device_grant"

    digest: str = Field(primary_key=True)
    user_code: str = Field(unique=True)
    client_id: str
    scope: str
    state: str
    person_id: str | None = Field(default=None, foreign_key="person.id", index=True)
    sign_on_id: str
    interval: int
    looked_at: int = Field(sa_type=BigInteger)
    expires_at: int = Field(sa_type=BigInteger, index=True)


class LogoutNotice(SQLModel, table=True):
    """A client that is still to be told that somebody has signed out. `tries` counts those that failed."""

    __tablename__ = "logout_notice"

    id: int | None = Field(default=None, primary_key=True)
    client_id: str
    person_id: str
    sign_on_id: str
    tries: int
    next_at: int = Field(sa_type=BigInteger, index=True)
