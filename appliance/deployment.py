"""The hand-over between the two planes: which engines serve which public names.

The control plane writes a `Deployment`, the request path reads it. Values and their JSON
form only; reading and writing the file is the business of `store.files`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine that answers for one model.

    `role` is what it is for (`chat`), `model` its public name and `names` every name that
    requests may use. Exactly one of `socket` (our own llama-server, a UNIX socket) and
    `url` (somebody else's OpenAI-compatible server, up to and with `/v1`) is set.
    `upstream_model` is the model name that the engine itself expects.
    """

    role: str
    model: str
    names: tuple[str, ...]
    upstream_model: str
    socket: str | None = None
    url: str | None = None
    api_key_file: str | None = None
    context: int | None = None
    slots: int | None = None
    file: str | None = None
    sha256: str | None = None
    trial: bool = False

    @property
    def is_ours(self) -> bool:
        """Whether the appliance runs this engine itself."""
        return self.socket is not None


@dataclass(frozen=True, slots=True)
class Deployment:
    """What the box serves: the release that wrote it, and its engines."""

    release: str
    engines: tuple[Engine, ...]

    def find(self, name: str) -> Engine | None:
        """The engine that serves a public name, or None."""
        return next((engine for engine in self.engines if name in engine.names), None)

    def to_json(self) -> str:
        """The file's text."""
        return json.dumps(asdict(self), indent=2) + "\n"


@dataclass(frozen=True, slots=True)
class Service:
    """All that the request path is told when it starts: where its files are, and what it serves on which terms.

    `max_body` in bytes, `engine_wait_s` in seconds; the rest as the settings of the same names.
    """

    config: str
    state: str
    host: str
    port: int
    max_body: int
    requests_at_once: int
    engine_wait_s: float
    deployment: Deployment

    def to_json(self) -> str:
        """One line of text."""
        return json.dumps(asdict(self))


def service_from_json(text: str) -> Service:
    """Read the text that `Service.to_json` wrote; raises ValueError when it is not that."""
    data: dict[str, Any] = json.loads(text)
    return Service(**{**data, "deployment": from_json(json.dumps(data["deployment"]))})


def from_json(text: str) -> Deployment:
    """Read the text that `Deployment.to_json` wrote; raises ValueError when it is not that."""
    try:
        data: dict[str, Any] = json.loads(text)
        engines = tuple(Engine(**{**item, "names": tuple(item["names"])}) for item in data["engines"])
        return Deployment(release=data["release"], engines=engines)
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"not a deployment: {error}") from error
