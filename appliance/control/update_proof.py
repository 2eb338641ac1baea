"""Prove from outside that a version works: as a browser and a program would meet it, while nobody else is let in."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import psutil

from appliance.config.paths import Home
from appliance.config.settings import Settings
from appliance.control.installation import Installation, last_words
from appliance.control.status import all_proofs
from appliance.errors import ApplianceError
from appliance.policy.updates import BUSY_SHARE, slower

_WAIT_S: Final = 600.0
_TRIES: Final = 3
# How long to look at the processor.
_LOOK_S: Final = 2.0
_HEADER: Final = "x-appliance-update"


def machine_is_busy() -> bool:
    """Whether other programs keep the processor busy: nobody is served now, so whatever computes is theirs."""
    return psutil.cpu_percent(_LOOK_S) > 100 * BUSY_SHARE


@dataclass(frozen=True, slots=True)
class Trial:
    """What a version is tried with: the update's word, an API key, and the speeds of before by model."""

    installation: Installation
    release: str
    word: str
    key: str
    speeds: Mapping[str, float]
    is_busy: Callable[[], bool] = machine_is_busy


def speeds_of(home: Home) -> dict[str, float]:
    """How fast each model writes on this machine, in tokens a second, as last measured."""
    return {model: proof.alone_speed for model, proof in all_proofs(home).items() if proof.alone_speed}


def prove(home: Home, settings: Settings, trial: Trial) -> None:
    """Health, sign-on, an answer of the model, its row in the ledger, and the speed. Raises update-failed."""
    _expect(trial, settings.gateway.host, settings.gateway.port, "/ready", "the gateway is not ready")
    if settings.identity.enabled:
        host, port = settings.identity.host, settings.identity.port
        for path in ("/.well-known/openid-configuration", "/jwks", "/sign-in"):
            _expect(trial, host, port, path, "sign-on does not work")
    if "chat" in settings.engines:
        _answer(home, settings, trial)
    if trial.speeds:
        _speed(home, trial)


def _answer(home: Home, settings: Settings, trial: Trial) -> None:
    body = {"model": "chat", "messages": [{"role": "user", "content": "Say yes."}], "max_tokens": 8}
    host, port = settings.gateway.host, settings.gateway.port
    status, headers, said = _ask(trial, host, port, "POST", "/v1/chat/completions", body)
    try:
        written = json.loads(said)["usage"]["completion_tokens"]
    except (ValueError, KeyError, TypeError):
        written = 0
    if status != 200 or not written:
        raise failed(f"the model does not answer ({status}: {said[:200].decode(errors='replace')})")
    rows = _document(home, trial, "usage", "--rows", "--limit", "50", "--json")
    row = next((one for one in rows if one["request_id"] == headers.get("x-request-id")), None)
    if row is None or row["completion_tokens"] != written:
        raise failed("its answer is not in the ledger")


def _speed(home: Home, trial: Trial) -> None:
    """Measured as often as needed: it may have met a passing load. One that stays is not the new version's fault."""
    best: dict[str, float] = {}
    for _ in range(_TRIES):
        for one in _document(home, trial, "models", "prove", "--json", codes=(0, 1)):
            best[one["model"]] = max(best.get(one["model"], 0.0), float(one["writes"] or 0.0))
        found = slower(trial.speeds, best)
        if not found:
            return
    if not trial.is_busy():
        raise failed(found)


def _document(home: Home, trial: Trial, *words: str, codes: tuple[int, ...] = (0,)) -> Any:
    done = trial.installation.run(home, trial.release, *words, word=trial.word)
    if done.returncode not in codes:
        raise failed(f"`appliance {' '.join(words)}` fails: {last_words(done)}")
    try:
        return json.loads(done.stdout)
    except ValueError as error:
        raise failed(f"`appliance {' '.join(words)}` prints no document") from error


def _expect(trial: Trial, host: str, port: int, path: str, what: str) -> None:
    status, _, said = _ask(trial, host, port, "GET", path)
    if status != 200:
        raise failed(f"{what} ({path} answers {status}: {said[:200].decode(errors='replace')})")


def _ask(
    trial: Trial, host: str, port: int, method: str, path: str, body: Any = None
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(host, port, timeout=_WAIT_S)
    headers = {_HEADER: trial.word, "authorization": f"Bearer {trial.key}", "content-type": "application/json"}
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    except (OSError, http.client.HTTPException) as error:
        raise failed(f"{path} does not answer: {error}") from error
    finally:
        connection.close()


def failed(why: str) -> ApplianceError:
    """An update that cannot be carried out."""
    return ApplianceError("update-failed", f"The new version does not do: {why}.", "See `appliance update history`.")
