"""The fixed pages: how to trust the box, on each kind of device, and what is here where there is no chat page."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from appliance.config.addresses import Addresses
from appliance.config.lan import LanSettings
from appliance.lan.authority import Authority
from appliance.lan.caddy import Text

DEFAULT: Final = "en"
CERTIFICATE: Final = "/ca.crt"
_TRUST: Final = "/trust"
_HTML: Final = "text/html; charset=utf-8"
# How each kind of device is told, in this order.
DEVICES: Final = ("windows", "macos", "ios", "android", "linux", "firefox")


def words() -> dict[str, dict[str, Any]]:
    """What the pages say, by language."""
    return {
        Path(file.name).stem: tomllib.loads(file.read_text(encoding="utf-8"))
        for file in (resources.files("appliance.lan") / "words").iterdir()
        if file.name.endswith(".toml")
    }


def trust(lan: LanSettings, authority: Authority) -> tuple[Text, ...]:
    """The certificate, and the page about it in each language."""
    style = (resources.files("appliance.lan") / "templates" / "style.css").read_text(encoding="utf-8")
    return (
        # The type at which phones offer to install it.
        Text(CERTIFICATE, "application/x-x509-ca-cert", authority.pem),
        Text(f"{_TRUST}.css", "text/css; charset=utf-8", style),
        *_by_language("trust", _TRUST, lan=lan, authority=authority, devices=DEVICES, certificate=CERTIFICATE),
    )


def home(lan: LanSettings, found: Addresses) -> tuple[Text, ...]:
    """What stands at the address itself where there is no chat page."""
    return _by_language("home", "/", lan=lan, addresses=found)


def _by_language(name: str, path: str, **values: Any) -> tuple[Text, ...]:
    """A page at its address in the browser's language, and below it in each language by name."""
    templates = Environment(
        loader=FileSystemLoader(str(resources.files("appliance.lan") / "templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    known = words()
    template = templates.get_template(f"{name}.html")
    base = path.rstrip("/")
    made = {
        tag: template.render(tag=tag, say=say, known=known, path=base, trust=_TRUST, **values)
        for tag, say in known.items()
    }
    named = [Text(f"{base}/{tag}", _HTML, body) for tag, body in made.items()]
    wished = [Text(path, _HTML, body, tag) for tag, body in made.items() if tag != DEFAULT]
    return (*named, *wished, Text(path, _HTML, made[DEFAULT]))
