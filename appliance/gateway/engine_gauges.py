"""Ask the engines how they are, for `/metrics`: all at once, and no longer than a second."""

from __future__ import annotations

import asyncio
from typing import Final

from appliance.deployment import Engine
from appliance.engine.client import EngineClient
from appliance.gateway.metrics import Labels
from appliance.gateway.switchboard import Served, Target

_MOST_S: Final = 1.0
_MOST_BYTES: Final = 64 * 1024

# What llama-server counts, and our names for it. Its next release may have others: what is not there is left out.
_PASSED_ON: Final = {
    "llamacpp:requests_processing": "appliance_engine_slots_busy",
    "llamacpp:requests_deferred": "appliance_engine_deferred_requests",
    "llamacpp:n_tokens_max": "appliance_engine_longest_tokens",
    "llamacpp:kv_cache_usage_ratio": "appliance_engine_kv_used_ratio",
    "llamacpp:prompt_tokens_total": "appliance_engine_prompt_tokens_total",
    "llamacpp:prompt_seconds_total": "appliance_engine_prompt_seconds_total",
    "llamacpp:tokens_predicted_total": "appliance_engine_completion_tokens_total",
    "llamacpp:tokens_predicted_seconds_total": "appliance_engine_completion_seconds_total",
}
# All that an engine can tell.
METRICS: Final = frozenset(
    {"appliance_engine_up", "appliance_engine_slots", "appliance_engine_context_tokens", *_PASSED_ON.values()}
)


async def engine_samples(served: Served, most_s: float = _MOST_S) -> dict[str, list[tuple[Labels, int | float]]]:
    """The engines as they are now. One that does not answer within `most_s` seconds is not up, and no failure."""
    found: dict[str, list[tuple[Labels, int | float]]] = {}
    told = await asyncio.gather(*(_one(target, most_s) for target in served.targets()))
    for engine, samples in told:
        for name, value in samples.items():
            found.setdefault(name, []).append(((engine.role, engine.model), value))
    return found


async def _one(target: Target, most_s: float) -> tuple[Engine, dict[str, int | float]]:
    """One engine and its numbers. Somebody else's is only asked whether it answers."""
    engine, client = target
    plain = {"appliance_engine_slots": engine.slots, "appliance_engine_context_tokens": engine.context}
    samples: dict[str, int | float] = {name: value for name, value in plain.items() if value is not None}
    # Two questions: an engine that is busy for long with a prompt answers the first all the same.
    up, said = await asyncio.gather(_up(client, most_s), _figures(client, most_s) if engine.is_ours else _nothing())
    return engine, {"appliance_engine_up": int(up), **samples, **read_figures(said)}


def read_figures(said: bytes) -> dict[str, int | float]:
    """The numbers that are passed on, by our names; anything that is not understood is left out."""
    found: dict[str, int | float] = {}
    for line in said.decode("utf-8", "replace").splitlines():
        name, _, value = line.partition(" ")
        if name in _PASSED_ON:
            try:
                found[_PASSED_ON[name]] = float(value)
            except ValueError:
                continue
    return found


async def _up(client: EngineClient, most_s: float) -> bool:
    try:
        async with asyncio.timeout(most_s):
            return await client.ready()
    except TimeoutError:
        return False


async def _figures(client: EngineClient, most_s: float) -> bytes:
    try:
        async with asyncio.timeout(most_s):
            return await client.figures(_MOST_BYTES) or b""
    except TimeoutError:
        return b""


async def _nothing() -> bytes:
    return b""
