"""The settings of the box on the company's network: its name there, and the ports that people come by."""

from __future__ import annotations

import ipaddress
import re

from pydantic import Field, model_validator

from appliance.config.section import Section

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"({_LABEL}\.)+{_LABEL}")
_LONGEST = 253


class LanSettings(Section):
    """On the company's network, with HTTPS: one name for the chat page, the API and sign-on."""

    enabled: bool = Field(default=False, description="Whether other machines may come at all.")
    host: str = Field(
        "ai.local",
        description="The name that people type. One that ends in `.local` is made known on the network by the box "
        "itself; for any other one your own DNS must say where the box is.",
    )
    address: str | None = Field(
        None, description="IP address of the network card to listen on. All of them without one."
    )
    https_port: int = Field(443, ge=1, le=65535, description="TCP port of the chat page and the API.")
    sign_on_port: int = Field(
        8444,
        ge=1,
        le=65535,
        description="TCP port of sign-on, which has an origin of its own. It is part of every token.",
    )
    http_port: int = Field(
        80,
        ge=1,
        le=65535,
        description="TCP port without encryption: it sends people on, and says how to trust the box.",
    )

    @model_validator(mode="after")
    def _is_whole(self) -> LanSettings:
        if not _NAME.fullmatch(self.host) or len(self.host) > _LONGEST or self.host.rpartition(".")[2].isdigit():
            raise ValueError("`host` must be a name of small letters, digits and hyphens with a dot, as ai.local")
        if self.address is not None:
            _check_address(self.address)
        if len({self.https_port, self.sign_on_port, self.http_port}) < 3:
            raise ValueError("`https_port`, `sign_on_port` and `http_port` must be three different ports")
        return self

    @property
    def origin(self) -> str:
        """The chat page's address, without a slash at the end."""
        return f"https://{self.host}{'' if self.https_port == 443 else f':{self.https_port}'}"

    @property
    def sign_on(self) -> str:
        """Sign-on's address, without a slash at the end."""
        return f"https://{self.host}:{self.sign_on_port}"

    @property
    def trust(self) -> str:
        """The page that says how to trust the box, for devices that do not yet."""
        return f"http://{self.host}{'' if self.http_port == 80 else f':{self.http_port}'}/trust"


def _check_address(text: str) -> None:
    """Raises ValueError."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise ValueError("`address` must be an IP address of this machine, as 192.168.1.5") from None
