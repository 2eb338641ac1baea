"""Where people and programs find what the box offers: all addresses that are told to anybody, in one place."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from appliance.config.settings import Settings


@dataclass(frozen=True, slots=True)
class Addresses:
    """What is typed or configured elsewhere; none ends in a slash.

    `api` is the base that OpenAI clients are given, `issuer` that of sign-on, `chat` is the chat page, `page` what is
    shown on the network, `trust` how a device learns to trust the box. Empty where there is no such thing.
    """

    api: str
    issuer: str = ""
    chat: str = ""
    page: str = ""
    trust: str = ""


def addresses(settings: Settings) -> Addresses:
    """All addresses that follow from the settings."""
    issuer = settings.identity.issuer if settings.identity.enabled else ""
    chat = settings.chat.origin if settings.chat.enabled else ""
    if settings.lan.enabled:
        lan = settings.lan
        return Addresses(f"{lan.origin}/v1", issuer, chat, lan.origin, lan.trust)
    return Addresses(f"http://{bracketed(settings.gateway.host)}:{settings.gateway.port}/v1", issuer, chat)


def bracketed(host: str) -> str:
    """A host as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


def is_loopback(host: str) -> bool:
    """Whether only this machine itself can reach what listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
