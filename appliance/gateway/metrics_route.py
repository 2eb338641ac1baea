"""`GET /metrics`: what was counted, and how the engines and the machine are at this moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from appliance.gateway.engine_gauges import engine_samples
from appliance.gateway.exposition import CONTENT_TYPE, Samples, render
from appliance.gateway.metrics import TABLE, Labels, Metrics
from appliance.gateway.sampler import Sampler
from appliance.gateway.switchboard import Switchboard
from appliance.hardware.power import Reading
from appliance.http.asgi import Request, Send, respond


@dataclass(frozen=True, slots=True)
class MetricsPage:
    """What the page is made of. `admit` lets a request in, or raises what refuses it."""

    metrics: Metrics
    switchboard: Switchboard
    sampler: Sampler
    admit: Callable[[Request], object]


class HasPage(Protocol):
    """The gateway's box, of which nothing else is needed here."""

    @property
    def metrics_page(self) -> MetricsPage:
        """What the page is made of."""


async def metrics(box: HasPage, request: Request, send: Send) -> None:
    """The numbers that Prometheus collects, in its text format. No person, team or key is named in them."""
    page = box.metrics_page
    page.admit(request)
    engines, reading = await asyncio.gather(engine_samples(page.switchboard.now), page.sampler.now())
    samples: Samples = {**page.metrics.samples(), **engines, **machine_samples(reading)}
    await respond(send, request, 200, render(TABLE, samples), CONTENT_TYPE)


def machine_samples(reading: Reading | None) -> dict[str, list[tuple[Labels, int | float]]]:
    """The graphics cards and the energy, as far as the machine tells them."""
    if reading is None:
        return {}
    found: dict[str, list[tuple[Labels, int | float]]] = {}

    def put(name: str, labels: Labels, value: int | float | None) -> None:
        if value is not None:
            found.setdefault(name, []).append((labels, value))

    if reading.cards is not None and not reading.cards.up:
        put("appliance_gpu_up", (), 0)
    for card in reading.cards.cards if reading.cards else ():
        gpu = (str(card.index),)
        put("appliance_gpu_up", gpu, int(card.up))
        put("appliance_gpu_info", (*gpu, card.name or ""), 1 if card.name else None)
        put("appliance_gpu_memory_used_bytes", gpu, card.memory_used)
        put("appliance_gpu_memory_total_bytes", gpu, card.memory_total)
        put("appliance_gpu_utilization_ratio", gpu, card.utilization)
        put("appliance_gpu_temperature_celsius", gpu, card.temperature_c)
        put("appliance_gpu_power_watts", gpu, None if card.power_mw is None else card.power_mw / 1000)
    for source, used in (("gpu", reading.gpu_mj), ("cpu", reading.cpu_mj)):
        put("appliance_energy_joules_total", (source,), None if used is None else used / 1000)
    return found
