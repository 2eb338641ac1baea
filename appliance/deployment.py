"""The hand-over between the two planes: which engines serve which public names.

The control plane writes a `Deployment`, the request path reads it. Values and their JSON
form only; reading and writing the file is the business of `store.files`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from appliance.errors import ApplianceError
from appliance.terms import PriceRow, RoutingTerms


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine that answers for one model.

    `role` is what it is for (`chat`), `model` its public name and `names` every name that
    requests may use. Exactly one of `socket` (our own llama-server, a UNIX socket) and
    `url` (somebody else's OpenAI-compatible server, up to and with `/v1`) is set.
    `upstream_model` is the model name that the engine itself expects. `process` names the
    supervised process that runs it, empty where that is the role. While it is `held`, because
    it is being exchanged, requests for it wait.

    A model of the cloud is an engine with a `provider`, the name of whoever computes it; it speaks `dialect`
    (`openai` or `anthropic`), and no answer of it has more than `max_output` tokens. `reasoning` says that it
    thinks before it answers, and takes no temperature. Its `api_key_file` is read at each call.
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
    held: bool = False
    process: str = ""
    provider: str = ""
    dialect: str = "openai"
    max_output: int = 0
    reasoning: bool = False

    @property
    def is_ours(self) -> bool:
        """Whether the appliance runs this engine itself."""
        return self.socket is not None

    @property
    def run_by(self) -> str:
        """The name of the supervised process that runs it."""
        return self.process or self.role

    def is_same(self, other: Engine) -> bool:
        """Whether both are one engine to a request under way: equal in all but `held`."""
        return replace(self, held=False) == replace(other, held=False)


@dataclass(frozen=True, slots=True)
class Deployment:
    """What the box serves: the release that wrote it, and its engines.

    Each one that the control plane writes has a higher `serial` than the one before.
    """

    release: str
    engines: tuple[Engine, ...]
    serial: int = 0

    def find(self, name: str) -> Engine | None:
        """The engine that serves a public name, or None."""
        return next((engine for engine in self.engines if name in engine.names), None)

    def to_json(self) -> str:
        """The file's text."""
        return json.dumps(asdict(self), indent=2) + "\n"


@dataclass(frozen=True, slots=True)
class CloudTerms:
    """On which terms a request may leave this box for a model of the cloud.

    `teams` are those who may, `*` for all; `local_only` names who never may (`team:hr`, `user:anna`, `key:...`).
    `monthly_cap` in micro-units of money for the whole box. A provider that is silent for `silence_s` seconds is
    given up. `proxy` is the address of an HTTP proxy to go through. While a file is at `switch`, nothing is sent.
    """

    teams: tuple[str, ...]
    local_only: tuple[str, ...]
    monthly_cap: int
    silence_s: float
    switch: str
    proxy: str | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """All that the request path is told when it starts: where its files are, and what it serves on which terms.

    `max_body` and `max_file` in bytes, `engine_wait_s` in seconds; the rest as the settings of the same names.
    `remote` are the engines behind a URL: they are part of this deployment and of every later one. `prices` are what
    tokens cost, `reference_prices` what they would have cost elsewhere. Without `cloud` nothing is ever sent to a
    model of the cloud. `issuer` is the sign-on whose access tokens count, empty where there is none. `socket` is the
    UNIX socket at which it listens too, for our own proxy alone; empty where there is no proxy.
    """

    config: str
    state: str
    host: str
    port: int
    max_body: int
    requests_at_once: int
    engine_wait_s: float
    deployment: Deployment
    remote: tuple[Engine, ...] = ()
    routing: RoutingTerms = field(default_factory=RoutingTerms)
    prices: tuple[PriceRow, ...] = ()
    reference_prices: tuple[PriceRow, ...] = ()
    queue_s: float = 600.0
    headroom_s: float = 20.0
    answer_tokens: int = 4096
    currency: str = "EUR"
    cloud: CloudTerms | None = None
    max_file: int = 200 * 1024**2
    batch_lines: int = 2
    issuer: str = ""
    socket: str = ""

    def to_json(self) -> str:
        """One line of text."""
        return json.dumps(asdict(self))


def merged(stored: Deployment, remote: tuple[Engine, ...]) -> Deployment:
    """What is served: the engines behind a URL, and what the control plane wrote for all other roles.

    The cloud's models come last: a name that is served here is never sent away. Raises no-engine.
    """
    roles = {engine.role for engine in remote}
    near = (engine for engine in remote if not engine.provider)
    far = (engine for engine in remote if engine.provider)
    engines = (*near, *(engine for engine in stored.engines if engine.role not in roles), *far)
    if not engines:
        raise ApplianceError(
            "no-engine",
            "No engine is deployed and none is named in the settings.",
            "Run `appliance up`, or set [engines.chat] url.",
        )
    return replace(stored, engines=engines)


def service_from_json(text: str) -> Service:
    """Read the text that `Service.to_json` wrote; raises ValueError when it is not that."""
    data: dict[str, Any] = json.loads(text)
    read = {
        "deployment": from_json(json.dumps(data["deployment"])),
        "remote": _engines(data["remote"]),
        "routing": RoutingTerms(**{**data["routing"], **_tuples(data["routing"], "small_words")}),
        "prices": tuple(PriceRow(**row) for row in data["prices"]),
        "reference_prices": tuple(PriceRow(**row) for row in data["reference_prices"]),
        "cloud": data["cloud"] and CloudTerms(**{**data["cloud"], **_tuples(data["cloud"], "teams", "local_only")}),
    }
    return Service(**{**data, **read})


def _tuples(data: dict[str, Any], *names: str) -> dict[str, tuple[Any, ...]]:
    """JSON's lists as what they were."""
    return {name: tuple(data[name]) for name in names}


def from_json(text: str) -> Deployment:
    """Read the text that `Deployment.to_json` wrote, in this release or an older one.

    Raises ValueError when it is not that, or has a field that only a newer release knows.
    """
    try:
        data: dict[str, Any] = json.loads(text)
        deployment = Deployment(**{**data, "engines": _engines(data["engines"])})
        if type(deployment.serial) is not int:
            raise TypeError("'serial' is no whole number")
    except (KeyError, TypeError, RecursionError, json.JSONDecodeError) as error:
        raise ValueError(f"not a deployment: {error}") from error
    return deployment


def _engines(items: list[dict[str, Any]]) -> tuple[Engine, ...]:
    return tuple(Engine(**{**item, "names": tuple(item["names"])}) for item in items)
