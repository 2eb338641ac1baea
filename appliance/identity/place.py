"""What sign-on is told when it starts, as values: whoever starts it need not carry the rest of it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

from appliance.policy.directory import Directory
from appliance.policy.federation import Upstream
from appliance.policy.vouching import Ages


@dataclass(frozen=True, slots=True)
class Place:
    """All that sign-on is told when it starts: where its files are, where it listens, and what it is called.

    `socket` is the UNIX socket at which it listens too, for our own proxy alone; empty where there is none. `landing`
    is where people go who signed in on their way to nothing else: a page of ours, or a whole address. `chat_host` and
    `chat_port` are where the chat page listens on this machine; 0 where there is none.
    """

    config: str
    state: str
    host: str
    port: int
    issuer: str
    socket: str = ""
    landing: str = "/account"
    upstreams: tuple[Upstream, ...] = ()
    directory: Directory | None = None
    ages: Ages = field(default_factory=Ages)
    chat_host: str = ""
    chat_port: int = 0

    @property
    def inside(self) -> str:
        """Its address on this machine, without a slash at the end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def to_json(self) -> str:
        """One line of text."""
        return json.dumps(asdict(self))


def place_from_json(text: str) -> Place:
    """Read what `Place.to_json` wrote."""
    found = json.loads(text)
    found["upstreams"] = tuple(Upstream(**one) for one in found["upstreams"])
    if found["directory"] is not None:
        found["directory"] = Directory(**{**found["directory"], "domains": tuple(found["directory"]["domains"])})
    return Place(**{**found, "ages": Ages(**found["ages"])})
