"""The settings of mail."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from appliance.config.loopback import LOOPBACK
from appliance.config.section import Section


class MailSettings(Section):
    """Mail: with a server, invitations and links for new passwords go out by themselves. Without one, you send them."""

    server: str | None = Field(
        None, pattern=r"^[A-Za-z0-9_.:-]+$", description="Name or address of your mail server, as `mail.example.com`."
    )
    port: int = Field(587, ge=1, le=65535, description="TCP port of the mail server.")
    security: Literal["starttls", "tls", "none"] = Field(
        "starttls",
        description="How the way to it is kept secret; `tls` is usual at port 465. `none` only on this machine.",
    )
    sender: str | None = Field(
        None, pattern=r"^[^\s<>@]+@[^\s<>@]+$", description="The address that mail comes from, as `ai@example.com`."
    )
    user: str | None = Field(None, min_length=1, max_length=320, description="Name to sign in with, where it asks.")
    password_file: str | None = Field(
        None,
        pattern="^/",
        description="File with the password: an absolute path, mode 0600, owned by the appliance.",
    )
    language: str = Field(
        "en", pattern=r"^[a-z]{2,3}$", description="Language of mail to people who have not chosen one, as `de`."
    )

    @model_validator(mode="after")
    def _is_whole(self) -> MailSettings:
        if self.server is None:
            return self
        if self.sender is None:
            raise ValueError("a mail server needs `sender`, the address that mail comes from")
        if (self.user is None) != (self.password_file is None):
            raise ValueError("`user` and `password_file` belong together")
        if self.security == "none" and self.server not in LOOPBACK:
            raise ValueError('`security = "none"` is for a server on this machine: others could read links on the way')
        return self
