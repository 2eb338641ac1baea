"""Every setting: its type, default, unit and meaning.

`docs/reference/settings.md` is generated from these models. A setting that is not here
does not exist, and naming it in the file stops the start (`config.load`).
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from appliance.config.backup import BackupSettings
from appliance.config.federation import DirectorySettings, UpstreamSettings, check_names
from appliance.config.lan import LanSettings
from appliance.config.loopback import LOOPBACK
from appliance.config.mail import MailSettings
from appliance.config.retention import RetentionSettings
from appliance.config.section import Section
from appliance.config.terms import PriceSettings, ReferencePriceSettings, RoutingSettings, no_two
from appliance.config.update import UpdateSettings
from appliance.units import GIB, MIB, parse_bytes, parse_money


def _bytes(value: object) -> object:
    return parse_bytes(value) if isinstance(value, str) else value


Size = Annotated[int, BeforeValidator(_bytes)]
# What an engine is for: conversations, short tasks, and the two halves of search.
Role = Literal["chat", "small", "embed", "rerank"]


class GatewaySettings(Section):
    """The OpenAI-compatible API."""

    host: str = Field(
        "127.0.0.1", description="Address the gateway listens on. Any other than loopback needs `insecure_lan` too."
    )
    port: int = Field(8080, ge=1, le=65535, description="TCP port the gateway listens on.")
    insecure_lan: bool = Field(
        default=False,
        description="Whether `host` may be one that other machines reach without encryption, as behind a proxy "
        "of your own. Keys and prompts can then be read on the way; `[lan]` is the safe way.",
    )
    max_body: Size = Field(8 * MIB, ge=1024, le=GIB, description='Largest request body, in bytes or as `"8 MiB"`.')
    max_file: Size = Field(
        200 * MIB,
        ge=1024,
        le=64 * GIB,
        description='Largest file that is kept for a batch, in bytes or as `"200 MiB"`.',
    )
    batch_lines: int = Field(
        2, ge=1, le=64, description="Requests of batches that are under way at once, of all people together."
    )
    requests_at_once: int = Field(
        512,
        ge=1,
        le=100_000,
        description="Requests that one API key may have under way at once; one more is answered 429.",
    )
    answer_tokens: int = Field(
        4096,
        ge=1,
        le=1_048_576,
        description="Most tokens of an answer under a budget of tokens or money whose request sets no limit itself.",
    )
    queue_s: float = Field(
        600.0,
        ge=1,
        le=86_400,
        description="Seconds that a request waits for its turn at a model; then it is answered 503.",
    )
    headroom_s: float = Field(
        20.0,
        ge=0,
        le=3600,
        description="Seconds for which a slot is kept free for somebody who has asked; 0 gives one person all slots.",
    )
    engine_wait_s: float = Field(
        10.0, ge=0, le=300, description="Seconds that a request waits for an engine that is starting or restarting."
    )


class MoneySettings(Section):
    """How money is counted and shown."""

    currency: str = Field(
        "EUR", pattern=r"^[A-Z]{3}$", description="ISO 4217 code of the currency that prices and budgets are in."
    )


class EngineSettings(Section):
    """One engine, by the role it plays. With `url` it is run by somebody else and no local process is started."""

    model: str | None = Field(
        None,
        min_length=1,
        description="Model id of the catalogue, or the name that the server behind `url` expects.",
    )
    url: str | None = Field(
        None,
        pattern=r"^https?://[A-Za-z0-9_.:\[\]-]+(/[A-Za-z0-9_.~%/-]*)?$",
        description="Base address of an OpenAI-compatible server, up to and with `/v1`.",
    )
    api_key_file: str | None = Field(None, description="File that holds the key for `url`.")
    context: int = Field(8192, ge=512, le=1_048_576, description="Context of each slot, in tokens.")
    slots: int = Field(4, ge=1, le=64, description="Requests that the engine works on at once.")
    kv: Literal["f16", "q8_0"] = Field(
        "f16", description="How conversations under way are held; `q8_0` takes about half the memory."
    )
    threads: int = Field(0, ge=0, le=1024, description="Threads for computing; 0 takes the physical cores.")

    @model_validator(mode="after")
    def _url_is_whole(self) -> EngineSettings:
        if self.url is not None and self.model is None:
            raise ValueError("an engine with `url` needs `model`, the name that its server expects")
        if self.url is None and self.api_key_file is not None:
            raise ValueError("`api_key_file` belongs to an engine with `url`")
        return self


def _default_engines() -> dict[Role, EngineSettings]:
    return {"chat": EngineSettings()}


_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_PUBLIC = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,99}")
_KEPT = re.compile(r"(team|user|key):\S.*")
_HOST = r"[A-Za-z0-9_.:\[\]-]+"


class ProviderSettings(Section):
    """A provider of models of the cloud, by a name of your choice: small letters, digits and hyphens.

    Without `key_file` and `credential`, the key is the one that `appliance cloud key NAME` keeps, or systemd's
    credential of the provider's name.
    """

    kind: Literal["openai", "anthropic"] = Field(
        "openai",
        description="What it speaks: OpenAI's chat completions (as a LiteLLM proxy does), or Anthropic's messages.",
    )
    url: str | None = Field(
        None,
        pattern=rf"^https?://{_HOST}(/[A-Za-z0-9_.~%/-]*)?$",
        description="Base address, up to and with `/v1`. It must be `https`, but for a proxy on this machine.",
    )
    key_file: str | None = Field(
        None, pattern="^/", description="File that holds the key: an absolute path, mode 0600, owned by the appliance."
    )
    credential: str | None = Field(
        None, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", description="Name of the systemd credential that holds the key."
    )

    @model_validator(mode="after")
    def _is_whole(self) -> ProviderSettings:
        if self.url is None:
            raise ValueError("a provider needs its `url`")
        if self.url.startswith("http://") and urlsplit(self.url).hostname not in LOOPBACK:
            raise ValueError("`url` must begin with https://, or keys and prompts could be read on the way")
        if self.key_file is not None and self.credential is not None:
            raise ValueError("a provider has either `key_file` or `credential`")
        return self


class CloudModelSettings(Section):
    """A model of the cloud, by the public name that requests use. It needs a price for today."""

    provider: str = Field("", description="Which of the providers computes it.")
    model: str = Field("", description="The name that the provider knows it by.")
    context: int = Field(128_000, ge=512, le=16_777_216, description="Most tokens of a prompt that it reads.")
    max_tokens: int = Field(
        4096, ge=1, le=1_048_576, description="Most tokens of an answer. What they can cost is held before a call."
    )
    reasoning: bool = Field(
        default=False,
        description="It thinks before it answers: temperature and the like are left out, as such models refuse them.",
    )


class CloudSettings(Section):
    """Models of the cloud. Without these lines nothing ever leaves the box."""

    enabled: bool = Field(default=False, description="Whether anything may leave the box at all.")
    teams: list[str] = Field(
        default_factory=list, description='Teams that have consent to use models of the cloud; `["*"]` is everybody.'
    )
    local_only: list[str] = Field(
        default_factory=list,
        description='Whose data never leaves, whatever else is set: `["team:hr", "user:anna", "key:key-0123456789"]`.',
    )
    monthly_cap: str | None = Field(
        None, description='Most that the whole box may spend in a calendar month, as `"200.00"`. Needed when enabled.'
    )
    silence_s: float = Field(
        120.0, ge=1, le=3600, description="Seconds after which a provider that says nothing is given up."
    )
    proxy: str | None = Field(
        None,
        pattern=rf"^http://{_HOST}/?$",
        description="HTTP proxy that leads out, as `http://proxy:3128`; it is asked for a tunnel. No password.",
    )
    providers: dict[str, ProviderSettings] = Field(default_factory=dict, description="The providers, by name.")
    models: dict[str, CloudModelSettings] = Field(default_factory=dict, description="The models, by public name.")

    @model_validator(mode="after")
    def _is_whole(self) -> CloudSettings:
        if self.monthly_cap is not None:
            parse_money(self.monthly_cap)
        for name in self.providers:
            if not _NAME.fullmatch(name):
                raise ValueError(f"the provider's name '{name}' must be small letters, digits and hyphens")
        for name, model in self.models.items():
            _check_model(name, model, self.providers)
        for kept in self.local_only:
            if not _KEPT.fullmatch(kept):
                raise ValueError("each of `local_only` is team:NAME, user:NAME or key:ID")
        if self.enabled and self.monthly_cap is None:
            raise ValueError('`monthly_cap` must say what the box may spend in a month, as "200.00"')
        if self.enabled and not self.models:
            raise ValueError("it is enabled without a model: add [cloud.models.NAME], or set `enabled = false`")
        return self


def _check_model(name: str, model: CloudModelSettings, providers: dict[str, ProviderSettings]) -> None:
    """Raises ValueError."""
    if not _PUBLIC.fullmatch(name) or name in get_args(Role):
        raise ValueError(f"the model's name '{name}' must be one word, and none of {', '.join(get_args(Role))}")
    if not model.model:
        raise ValueError(f"the model '{name}' needs `model`, the name that its provider knows it by")
    if model.provider not in providers:
        raise ValueError(f"the model '{name}' needs `provider`, and there is no [cloud.providers.{model.provider}]")


class IdentitySettings(Section):
    """Sign-on: one account for the chat page, the API and other programs."""

    enabled: bool = Field(default=False, description="Whether people can sign in.")
    host: str = Field("127.0.0.1", description="Address that sign-on listens on. Loopback: a proxy stands in front.")
    port: int = Field(8085, ge=1, le=65535, description="TCP port that sign-on listens on.")
    url: str | None = Field(
        None,
        pattern=rf"^https?://{_HOST}$",
        description="Address by which browsers and programs know it, as `https://ai.example.com:8443`, without a slash "
        "at the end. It is part of every token. Without one it is only for this machine.",
    )
    providers: dict[str, UpstreamSettings] = Field(
        default_factory=dict, description="Other providers that people may sign in with, by name."
    )
    directory: DirectorySettings = Field(
        default_factory=DirectorySettings, description="The company's directory, which people may sign in with."
    )
    provider_hours: int = Field(
        12,
        ge=1,
        le=336,
        description="Hours after which people who sign in with another provider must do so again. Whoever is switched "
        "off there is out here by then.",
    )
    grace_hours: int = Field(
        24,
        ge=2,
        le=168,
        description="Hours more for which they stay signed in while that provider does not answer, or the directory.",
    )

    @model_validator(mode="after")
    def _is_safe(self) -> IdentitySettings:
        check_names(list(self.providers))
        if self.host not in LOOPBACK:
            raise ValueError("sign-on listens on this machine only, at 127.0.0.1 or ::1: others come by the proxy")
        if urlsplit(self.issuer).scheme != "https" and urlsplit(self.issuer).hostname not in LOOPBACK:
            raise ValueError("`url` must begin with https://, or passwords could be read on the way")
        return self

    @property
    def issuer(self) -> str:
        """The address that stands in every token as `iss`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.url or f"http://{host}:{self.port}"


class ChatSettings(Section):
    """The chat page that staff use (Open WebUI). It needs sign-on, and `appliance chat-page install`."""

    enabled: bool = Field(default=False, description="Whether there is a chat page.")
    host: str = Field(
        "127.0.0.1", description="Address that the chat page listens on. Loopback: a proxy stands in front."
    )
    port: int = Field(8090, ge=1, le=65535, description="TCP port that the chat page listens on.")
    url: str | None = Field(
        None,
        pattern=rf"^https?://{_HOST}$",
        description="Address by which browsers know it, as `https://ai.example.com`, without a slash at the end. "
        "Without one it is only for this machine.",
    )

    @model_validator(mode="after")
    def _is_safe(self) -> ChatSettings:
        if self.host not in LOOPBACK:
            raise ValueError(
                "the chat page listens on this machine only, at 127.0.0.1 or ::1: others come by the proxy"
            )
        if urlsplit(self.origin).scheme != "https" and urlsplit(self.origin).hostname not in LOOPBACK:
            raise ValueError("`url` must begin with https://, or conversations could be read on the way")
        return self

    @property
    def origin(self) -> str:
        """The address by which browsers know it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.url or f"http://{host}:{self.port}"


class Settings(Section):
    """The whole settings file."""

    gateway: GatewaySettings = Field(default_factory=GatewaySettings)
    engines: dict[Role, EngineSettings] = Field(default_factory=_default_engines)
    routing: RoutingSettings = Field(default_factory=RoutingSettings)
    prices: Annotated[list[PriceSettings], AfterValidator(no_two)] = Field([], max_length=200)
    reference_prices: Annotated[list[ReferencePriceSettings], AfterValidator(no_two)] = Field([], max_length=200)
    money: MoneySettings = Field(default_factory=MoneySettings)
    cloud: CloudSettings = Field(default_factory=CloudSettings)
    identity: IdentitySettings = Field(default_factory=IdentitySettings)
    chat: ChatSettings = Field(default_factory=ChatSettings)
    lan: LanSettings = Field(default_factory=LanSettings)
    mail: MailSettings = Field(default_factory=MailSettings)
    backup: BackupSettings = Field(default_factory=BackupSettings)
    update: UpdateSettings = Field(default_factory=UpdateSettings)
    retention: RetentionSettings = Field(default_factory=RetentionSettings)

    @model_validator(mode="before")
    @classmethod
    def _addresses_follow(cls, data: Any) -> Any:
        """On the network, addresses follow from [lan]: filled in before anything is checked."""
        if not isinstance(data, dict) or "lan" not in data:
            return data
        try:
            lan = LanSettings.model_validate(data["lan"])
        except ValidationError:
            # It is told when its own turn comes, with its line.
            return data
        follow = {"identity": lan.sign_on, "chat": lan.origin} if lan.enabled else {}
        mine = {
            name: {**data[name], "url": url}
            for name, url in follow.items()
            if isinstance(data.get(name), dict) and data[name].get("url") is None
        }
        return {**data, **mine}

    @field_validator("chat")
    @classmethod
    def _chat_has_sign_on(cls, chat: ChatSettings, info: ValidationInfo) -> ChatSettings:
        identity = info.data.get("identity")
        # A mistake in [identity] is told by itself.
        if chat.enabled and identity is not None and not identity.enabled:
            raise ValueError("the chat page needs sign-on: set `enabled = true` under [identity] too")
        return chat

    @field_validator("lan")
    @classmethod
    def _lan_is_whole(cls, lan: LanSettings, info: ValidationInfo) -> LanSettings:
        identity, chat = info.data.get("identity"), info.data.get("chat")
        if not lan.enabled or identity is None:
            return lan
        if not identity.enabled:
            raise ValueError("it needs sign-on: set `enabled = true` under [identity] too")
        if identity.url != lan.sign_on:
            raise ValueError(f"`url` under [identity] must be left out: it is {lan.sign_on}")
        if chat is not None and chat.enabled and chat.url != lan.origin:
            raise ValueError(f"`url` under [chat] must be left out: it is {lan.origin}")
        return lan
