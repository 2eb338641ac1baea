"""Settings of signing in with the company's own accounts: other providers of sign-on."""

from __future__ import annotations

import re
from typing import Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from appliance.config.loopback import LOOPBACK
from appliance.config.section import Section

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_DOMAIN: Final = re.compile(r"[\w-]+(\.[\w-]+)+")
# The fields that both kinds of source have mean the same in both.
_DOMAINS: Final = (
    'Domains whose addresses it vouches for, as `["example.com"]`. Whoever has another address is not let in by it.'
)
_GROUPS: Final = (
    'Which of our groups theirs stand for, as `{"Sales EU" = "sales"}`. What they take away is gone here too.'
)
_ROLE: Final = "Role of those who get an account by signing in. Higher ones are given by hand: `appliance users role`."


class UpstreamSettings(Section):
    """Another provider of sign-on (OpenID Connect), by a name of your choice: small letters, digits and hyphens.

    Register the address `ISSUER/sign-in/from/NAME` there, with the appliance's own issuer.
    """

    issuer: str | None = Field(
        None, description="Its issuer, exactly as it names itself, as `https://login.example.com/realms/company`."
    )
    client_id: str = Field("", description="What the appliance is called there.")
    client_secret_file: str | None = Field(
        None,
        pattern="^/",
        description="File that holds the secret which it gave us: an absolute path, mode 0600, owned by the appliance.",
    )
    label: str = Field("", max_length=60, description="What stands on the button; without one it is the name.")
    domains: list[str] = Field(default_factory=list, max_length=100, description=_DOMAINS)
    role: Literal["staff", "auditor"] = Field("staff", description=_ROLE)
    scopes: list[str] = Field(
        ["openid", "email", "profile"], max_length=20, description="What is asked for; `openid` is always needed."
    )
    groups_claim: str = Field(
        "groups", min_length=1, description="Where it says which groups somebody is in, as `groups` or `realm.roles`."
    )
    groups: dict[str, str] = Field(default_factory=dict, description=_GROUPS)
    ca_file: str | None = Field(
        None, pattern="^/", description="File with the CA of its certificate, where that is the company's own."
    )

    @model_validator(mode="after")
    def _is_whole(self) -> UpstreamSettings:
        if self.issuer is None or not self.client_id or self.client_secret_file is None:
            raise ValueError("it needs `issuer`, `client_id` and `client_secret_file`")
        check_web(self.issuer)
        check_domains(self.domains)
        if "openid" not in self.scopes:
            raise ValueError("`scopes` must have `openid` among them")
        return self


class DirectorySettings(Section):
    """The company's directory (LDAP, Active Directory). Whoever has no password here may sign in with theirs there.

    Without `url` there is none.
    """

    kind: Literal["active-directory", "openldap"] = Field(
        "active-directory", description="What it is: the defaults of `filter` and the attributes follow from it."
    )
    url: str | None = Field(
        None, pattern=r"^ldaps?://[A-Za-z0-9_.\[\]:-]+$", description="Its address, as `ldaps://dc1.example.com`."
    )
    start_tls: bool = Field(default=False, description="Turn on TLS after connecting: for an address with `ldap://`.")
    ca_file: str | None = Field(None, pattern="^/", description="File with the CA of its certificate.")
    base: str = Field("", description="Where people are looked for, as `ou=people,dc=example,dc=com`.")
    filter: str | None = Field(
        None, description="Which entry is meant by what somebody types, which stands for `{login}`, escaped."
    )
    bind_dn: str = Field("", description="The account that looks people up, as `cn=appliance,dc=example,dc=com`.")
    bind_password_file: str | None = Field(
        None,
        pattern="^/",
        description="File with its password: an absolute path, mode 0600, owned by the appliance.",
    )
    id_attribute: str | None = Field(None, description="What never changes: `objectGUID`, or `entryUUID`.")
    mail_attribute: str = Field("mail", min_length=1, description="The address.")
    name_attribute: str | None = Field(None, description="The name: `displayName`, or `cn`.")
    groups_attribute: str = Field("memberOf", min_length=1, description="The groups, by their whole names (DN).")
    domains: list[str] = Field(default_factory=list, max_length=100, description=_DOMAINS)
    role: Literal["staff", "auditor"] = Field("staff", description=_ROLE)
    groups: dict[str, str] = Field(
        default_factory=dict,
        description='Which of our groups theirs stand for, as `{"cn=sales,ou=groups,dc=example,dc=com" = "sales"}`.',
    )
    nested_groups: bool | None = Field(
        None,
        description="Whether groups in groups count. Without it: in Active Directory, whose own rule for it is used.",
    )
    check_minutes: int = Field(
        15, ge=1, le=60, description="Minutes between two looks at whether those who sign in by it are still there."
    )

    @model_validator(mode="after")
    def _is_whole(self) -> DirectorySettings:
        if self.url is None:
            return self
        if not self.base or not self.bind_dn or self.bind_password_file is None:
            raise ValueError("it needs `base`, `bind_dn` and `bind_password_file`")
        is_near = urlsplit(self.url).hostname in LOOPBACK
        if self.url.startswith("ldap://") and not self.start_tls and not is_near:
            raise ValueError("passwords could be read on the way: use ldaps://, or `start_tls = true`")
        if self.url.startswith("ldaps://") and self.start_tls:
            raise ValueError("`start_tls` belongs to an address with ldap://")
        if self.filter is not None and "{login}" not in self.filter:
            raise ValueError("`filter` must have {login} in it")
        if self.nested_groups and self.kind != "active-directory":
            raise ValueError("`nested_groups` is a rule of Active Directory's: name each group under `groups`")
        check_domains(self.domains)
        return self


def check_web(address: str) -> None:
    """Raises ValueError for an address that others could listen to, or that is none."""
    parts = urlsplit(address)
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ValueError("`issuer` must be an address as https://login.example.com")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise ValueError("`issuer` must begin with https://, or sign-ins could be forged on the way")


def check_domains(domains: list[str]) -> None:
    """Raises ValueError unless there are domains, each a plain one."""
    if not domains:
        raise ValueError('`domains` must say whose addresses it vouches for, as ["example.com"]')
    for one in domains:
        if not _DOMAIN.fullmatch(one) or one != one.lower():
            raise ValueError(f"'{one}' in `domains` must be a domain in small letters, as example.com")


def check_names(names: list[str]) -> None:
    """Raises ValueError for a name that cannot stand in an address."""
    for name in names:
        if not _NAME.fullmatch(name) or name == "directory":
            raise ValueError(f"the provider's name '{name}' must be small letters, digits and hyphens, not 'directory'")
