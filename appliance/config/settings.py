"""Every setting: its type, default, unit and meaning.

`docs/reference/settings.md` is generated from these models. A setting that is not here
does not exist, and naming it in the file stops the start (`config.load`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from appliance.config.section import Section
from appliance.config.terms import PriceSettings, ReferencePriceSettings, RoutingSettings, no_two
from appliance.units import GIB, MIB, parse_bytes


def _bytes(value: object) -> object:
    return parse_bytes(value) if isinstance(value, str) else value


Size = Annotated[int, BeforeValidator(_bytes)]
# What an engine is for: conversations, short tasks, and the two halves of search.
Role = Literal["chat", "small", "embed", "rerank"]


class GatewaySettings(Section):
    """The OpenAI-compatible API."""

    host: str = Field(
        "127.0.0.1", description="Address the gateway listens on. Loopback unless a proxy with TLS stands in front."
    )
    port: int = Field(8080, ge=1, le=65535, description="TCP port the gateway listens on.")
    max_body: Size = Field(8 * MIB, ge=1024, le=GIB, description='Largest request body, in bytes or as `"8 MiB"`.')
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


class Settings(Section):
    """The whole settings file."""

    gateway: GatewaySettings = Field(default_factory=GatewaySettings)
    engines: dict[Role, EngineSettings] = Field(default_factory=_default_engines)
    routing: RoutingSettings = Field(default_factory=RoutingSettings)
    prices: Annotated[list[PriceSettings], AfterValidator(no_two)] = Field([], max_length=200)
    reference_prices: Annotated[list[ReferencePriceSettings], AfterValidator(no_two)] = Field([], max_length=200)
    money: MoneySettings = Field(default_factory=MoneySettings)
